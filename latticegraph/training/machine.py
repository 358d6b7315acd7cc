"""Device, threads, determinism, random state and signals of a run."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

import torch
from torch import Tensor
from torch.amp import GradScaler

from latticegraph.config import RunSettings
from latticegraph.distributed import ALONE, Processes
from latticegraph.errors import ConfigError


def resolve_device(settings: RunSettings, processes: Processes = ALONE) -> torch.device:
    """The device that ``run.device`` means on this machine; a GPU of its own for every process.

    Args:
        settings: ``device`` applies.
        processes: of the run.

    Raises:
        ConfigError: when cuda is asked for and there is none, or there are too few GPUs.
    """
    available = torch.cuda.is_available()
    if settings.device == "cuda" and not available:
        raise ConfigError(
            "run.device",
            "expected a CUDA device for 'cuda', got none",
            "Set run.device to auto or cpu, or install a CUDA build of torch",
        )
    if settings.device == "cpu" or not available:
        return torch.device("cpu")
    if processes.size > 1:
        _take_own_gpu(processes)
    return torch.device("cuda", torch.cuda.current_device())


def _take_own_gpu(processes: Processes) -> None:
    count = torch.cuda.device_count()
    if processes.local_rank >= count:
        raise ConfigError(
            "run.device",
            f"expected a GPU for every process of this machine, got {count} for process number "
            f"{processes.local_rank + 1}",
            f"Start torchrun with --nproc-per-node {count}, or set run.device to cpu",
        )
    torch.cuda.set_device(processes.local_rank)


@contextmanager
def training_session(settings: RunSettings, device: torch.device, exact: bool) -> Iterator[None]:
    """Threads, kernels and random state of a run; previous settings are restored afterwards.

    On the CPU every kernel is deterministic. On a GPU a kernel without a deterministic form warns
    and runs, so two runs there agree only up to rounding.

    Args:
        settings: threads and seed.
        device: where the run computes.
        exact: ask for deterministic kernels.
    """
    threads = torch.get_num_threads()
    before = torch.get_deterministic_debug_mode()
    memory: Any = torch.utils.deterministic
    fill = memory.fill_uninitialized_memory
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        try:
            if settings.threads:
                torch.set_num_threads(settings.threads)
            if exact:
                if device.type == "cuda":
                    # cuBLAS reads it at its first product; without, products need not repeat.
                    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
                # What use_deterministic_algorithms does, without its import of the compiler.
                torch.set_deterministic_debug_mode("warn" if device.type == "cuda" else "error")
                # Filling every new tensor with NaN finds bugs, changes no result and costs time.
                memory.fill_uninitialized_memory = False
            torch.manual_seed(settings.seed)
            yield
        finally:
            torch.set_num_threads(threads)
            torch.set_deterministic_debug_mode(before)
            memory.fill_uninitialized_memory = fill


def loss_scaler(precision: str, device: torch.device) -> GradScaler:
    """The dynamic scale of the loss, which keeps small gradients above the smallest float16.

    An update whose gradients overflow is left out and halves the scale; 500 updates without an
    overflow double it (Micikevicius et al. 2018). All are powers of two, so that scaling rounds
    nothing. Processes that train together have the same summed gradients and so the same scale.

    Args:
        precision: ``training.precision``; the scaler does nothing unless it is ``float16``.
        device: where the student computes.
    """
    return GradScaler(
        device.type, init_scale=2.0**14, growth_interval=500, enabled=precision == "float16"
    )


def random_state(device: torch.device) -> dict[str, Tensor]:
    """State of the generators that dropout draws from, as bytes."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: Mapping[str, Tensor], device: torch.device) -> None:
    """Set the generators to :func:`random_state`.

    A run that moves from the CPU to a GPU goes on with the GPU's generator as ``run.seed`` set it.
    """
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


def peak_memory_mb(device: torch.device) -> float | None:
    """Most memory held so far, in MB (10^6 bytes): of torch on a GPU, else of the process.

    None on Windows, which does not tell without further packages.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


class StopSignals:
    """Records the first SIGINT or SIGTERM instead of ending the process.

    A second SIGINT raises KeyboardInterrupt. Outside the main thread, where Python allows no
    handlers, nothing is caught. The handlers found at the start are back at the end.

    Attributes:
        number: the signal that came, None as long as there was none.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            # None stands for a handler that was not set from Python and cannot be put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._previous = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None and number == signal.SIGINT:
            signal.default_int_handler(number, frame)
        if self.number is None:
            self.number = number
