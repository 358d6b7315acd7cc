"""The trained model as one object: saved, loaded and used for inference."""

from latticegraph.hub.inference import Prediction, autocast
from latticegraph.hub.lattice_model import LatticeModel
from latticegraph.hub.settings import LatticeModelConfig, TeacherIdentity
from latticegraph.hub.weights import load_weights

__all__ = [
    "LatticeModel",
    "LatticeModelConfig",
    "Prediction",
    "TeacherIdentity",
    "autocast",
    "load_weights",
]
