"""What a trained lattice does, each number beside what chance gives, as functions of arrays."""

from latticegraph.analysis.dimension import bias_curve, entropy_rank, participation_ratio
from latticegraph.analysis.lesions import lost_variance, measure_lesions, parts_of
from latticegraph.analysis.mutual_information import gaussian_information, knn_information
from latticegraph.analysis.null import Finding, LabelPermutations, Null, family_wise, p_value
from latticegraph.analysis.recording import Recording, record_model
from latticegraph.analysis.selective_use import selective_use
from latticegraph.analysis.similarity import biased_cka, debiased_cka
from latticegraph.analysis.specialisation import CellProbes, selectivity_map

__all__ = [
    "CellProbes",
    "Finding",
    "LabelPermutations",
    "Null",
    "Recording",
    "bias_curve",
    "biased_cka",
    "debiased_cka",
    "entropy_rank",
    "family_wise",
    "gaussian_information",
    "knn_information",
    "lost_variance",
    "measure_lesions",
    "p_value",
    "participation_ratio",
    "parts_of",
    "record_model",
    "selective_use",
    "selectivity_map",
]
