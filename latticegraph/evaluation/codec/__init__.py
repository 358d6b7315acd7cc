"""Codecs at equal bytes: the student's code beside PCA, product quantisation and one-bit codes."""

from latticegraph.evaluation.codec.codec import ByteCodec, Codec, FloatBytes, QuantisedBytes
from latticegraph.evaluation.codec.one_bit import OneBitCodec
from latticegraph.evaluation.codec.plot import draw_codecs
from latticegraph.evaluation.codec.product_quantisation import (
    OpqCodec,
    has_faiss,
    require_faiss,
)
from latticegraph.evaluation.codec.quality import CodecQuality
from latticegraph.evaluation.codec.quantiser import (
    Quantiser,
    lloyd_max_quantiser,
    uniform_quantiser,
)
from latticegraph.evaluation.codec.random_projection import RandomProjectionCodec
from latticegraph.evaluation.codec.table import (
    FIXED,
    NotMeasured,
    check_names,
    fixed_rate,
    measure_codecs,
    sizes_of,
    stored,
)
from latticegraph.evaluation.codec.text import codec_table, codec_verdicts

__all__ = [
    "FIXED",
    "ByteCodec",
    "Codec",
    "CodecQuality",
    "FloatBytes",
    "NotMeasured",
    "OneBitCodec",
    "OpqCodec",
    "QuantisedBytes",
    "Quantiser",
    "RandomProjectionCodec",
    "check_names",
    "codec_table",
    "codec_verdicts",
    "draw_codecs",
    "fixed_rate",
    "has_faiss",
    "lloyd_max_quantiser",
    "measure_codecs",
    "require_faiss",
    "sizes_of",
    "stored",
    "uniform_quantiser",
]
