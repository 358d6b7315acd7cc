"""What a process sets before torch is imported: threads, memory that is kept, imports put off.

Nothing here imports torch. Measured on two cores; without these settings a tensor of 64 MB took
five times as long to fill, because every allocation was given back to the system and faulted in
again page by page.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_LARGEST_MMAP_THRESHOLD = 32 * 2**20  # glibc refuses more
_NEVER_TRIM = 2**31 - 1

POSTPONED = ("torch_geometric.datasets", "torch._dynamo")
"""Packages that torch-geometric imports and a run without the compiler never uses."""


def tune_process() -> None:
    """Tune threads, allocator and imports of this process; call it before torch is imported.

    Settings that the environment already holds win. Changes no result.
    """
    # Threads that spin for long while others want their core made a step over ten times slower,
    # and threads that never spin made it 1.6 times slower.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    # Tensors above 2 MB lie on huge pages: a fault per 2 MB instead of one per 4 kB.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    if sys.platform == "linux":
        _keep_freed_memory()
    if not any(isinstance(finder, _PostponingFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _PostponingFinder())


class _PostponingFinder(MetaPathFinder):
    """Finds the packages of :data:`POSTPONED`, whose code runs when a name in them is asked for."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in POSTPONED:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _PostponingLoader(spec.loader)
        return spec


class _PostponingLoader(Loader):
    # importlib.util.LazyLoader runs the code at any access, that of inspect to __file__ included.
    def __init__(self, loader: Loader) -> None:
        self.loader = loader
        self.path: Any = None

    def exec_module(self, module: ModuleType) -> None:
        # An import of a submodule asks for it, and so runs the code of the package first.
        self.path = vars(module).pop("__path__", None)
        module.__class__ = _PostponedModule


class _PostponedModule(ModuleType):
    """A module that holds no names but those every module has."""

    def __getattr__(self, name: str) -> Any:
        object.__setattr__(self, "__class__", ModuleType)
        loader = self.__spec__.loader if self.__spec__ is not None else None
        assert isinstance(loader, _PostponingLoader), "only that one makes such modules"
        if loader.path is not None:
            self.__path__ = loader.path
        loader.loader.exec_module(self)
        return getattr(self, name)


def _keep_freed_memory() -> None:
    """Let glibc reuse freed memory; other C libraries have no such call and are left alone."""
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
    mallopt(_M_TRIM_THRESHOLD, _NEVER_TRIM)
