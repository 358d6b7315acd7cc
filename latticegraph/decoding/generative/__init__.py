"""A decoder that writes text: a small transformer that reads embeddings."""

from latticegraph.decoding.generative.batches import TokenTexts
from latticegraph.decoding.generative.decoder import GenerativeDecoder, WrittenText
from latticegraph.decoding.generative.fit import Epoch, fit_decoder
from latticegraph.decoding.generative.fragments import fragments
from latticegraph.decoding.generative.network import CausalTransformer
from latticegraph.decoding.generative.stored import load_decoder, save_decoder
from latticegraph.decoding.generative.vocabulary import Vocabulary

__all__ = [
    "CausalTransformer",
    "Epoch",
    "GenerativeDecoder",
    "TokenTexts",
    "Vocabulary",
    "WrittenText",
    "fit_decoder",
    "fragments",
    "load_decoder",
    "save_decoder",
]
