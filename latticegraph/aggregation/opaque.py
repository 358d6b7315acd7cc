"""Functions that torch.compile treats as opaque operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Maker = Callable[..., Any]

# A notebook may import this file again, and operators are gone with the library that defines them:
# it is a fragment, of which there may be several, and the one of an earlier import is kept.
_LIBRARY: torch.library.Library = globals().get("_LIBRARY") or torch.library.Library(
    "latticegraph", "FRAGMENT"
)


def opaque(fake: Maker) -> Callable[[Maker], Maker]:
    """Decorator: one operator of ``torch.ops.latticegraph`` under the compiler, a plain call else.

    Sparse products and transforms have no loops that a compiler could fuse; as operators they cause
    no graph break. Outside a compiled graph the plain call saves the dispatcher's overhead. The
    operators have no gradient; the autograd functions that call them do.

    Args:
        fake: returns empty tensors of the right shape and type, for tracing.
    """

    def wrap(function: Maker) -> Maker:
        name = function.__name__
        if not hasattr(torch.ops.latticegraph, name):
            schema = torch.library.infer_schema(function, mutates_args=())
            _LIBRARY.define(name + schema, tags=torch.Tag.pt2_compliant_tag)
            _LIBRARY.impl(name, function, "CompositeExplicitAutograd")
            torch.library.register_fake(f"latticegraph::{name}", fake, lib=_LIBRARY)
        operator = getattr(torch.ops.latticegraph, name).default

        def call(*arguments: Any) -> Any:
            return (operator if torch.compiler.is_compiling() else function)(*arguments)

        call.__doc__ = function.__doc__
        return call

    return wrap
