"""From the settings of an expert to the expert."""

from __future__ import annotations

from latticegraph.config.model import ModelSettings
from latticegraph.dynamics.distant_expert import DistantExpert
from latticegraph.dynamics.expert import Expert
from latticegraph.dynamics.functional_expert import FunctionalExpert
from latticegraph.dynamics.local_expert import LocalExpert
from latticegraph.plugins import is_class_path, load_class, make

BUILT_IN: dict[str, type[Expert]] = {
    "local": LocalExpert,
    "functional": FunctionalExpert,
    "distant": DistantExpert,
}


def make_expert(settings: ModelSettings, index: int, offsets: int) -> Expert:
    """Expert number ``index`` of ``model.experts``.

    Args:
        settings: of the model.
        index: from 0.
        offsets: O, distinct offsets of the edges of its types; a table of weights has as many rows.

    Raises:
        ConfigError: its class cannot be imported, or refuses the options.
    """
    own, key = settings.experts[index], f"model.experts.{index}"
    if is_class_path(own.kind):
        class_ = load_class(own.kind, f"{key}.kind", Expert)  # type: ignore[type-abstract]
    else:
        class_ = BUILT_IN[own.kind]
    shared = own.message_options(settings.messages)
    shared |= {"gain": settings.init.gain, "offsets": offsets}
    return make(class_, own.options, f"{key}.options", settings.state_channels, shared=shared)
