"""From embeddings back to text."""

from latticegraph.decoding.text_decoder import DecodedText, TextDecoder

__all__ = ["DecodedText", "TextDecoder"]
