"""Hand-written gradients of the built-in experts; importing this package registers them."""

from latticegraph.dynamics.kernel import register_step
from latticegraph.kernels.distant import DistantKernel
from latticegraph.kernels.functional import FunctionalKernel
from latticegraph.kernels.fused_step import FusedKernels
from latticegraph.kernels.local import LocalKernel

__all__ = ["DistantKernel", "FunctionalKernel", "FusedKernels", "LocalKernel"]

register_step(FusedKernels())
