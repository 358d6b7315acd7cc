"""The packages of the extra ``serve``."""

from __future__ import annotations

import importlib.util

from latticegraph.errors import ConfigError

PACKAGES = ("fastapi", "uvicorn", "prometheus_client")


def require_serve() -> None:
    """Refuse to serve without the extra.

    Raises:
        ConfigError: naming what is missing.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            "serve",
            f"expected {', '.join(PACKAGES)}, got an environment without {', '.join(missing)}",
            "Install the extra: pip install 'latticegraph[serve]'",
        )
