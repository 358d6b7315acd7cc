"""A saved model behind HTTP: embeddings, codes, and a page to look at them."""

from latticegraph.serving.extra import require_serve

__all__ = ["require_serve"]
