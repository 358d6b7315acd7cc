"""From embeddings back to text; the decoder that writes is in ``generative``, not imported here."""

from latticegraph.decoding.decoder import Decoder, KnownTeacher, ScoredText
from latticegraph.decoding.text_decoder import DecodedText, TextDecoder

__all__ = ["DecodedText", "Decoder", "KnownTeacher", "ScoredText", "TextDecoder"]
