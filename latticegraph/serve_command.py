"""The command that serves a saved model."""

from __future__ import annotations

import argparse
import os
from typing import Any

KEY_VARIABLE = "LATTICEGRAPH_API_KEY"
_LIMITS = {
    "max_inputs": (int, 32, "inputs of one request"),
    "max_body_bytes": (int, 2_000_000, "bytes of one request"),
    "max_batch_tokens": (int, 16_384, "padded tokens of a batch: longest input x inputs"),
    "max_batch_items": (int, 64, "inputs of a batch"),
    "max_queue_tokens": (int, 131_072, "tokens that may wait; above it requests get 429"),
    "max_requests": (int, 512, "requests at once; above it requests get 429"),
    "deadline": (float, 30.0, "seconds after which a request gets 504"),
}


def add_serve_command(commands: Any) -> None:
    """Add the command.

    Args:
        commands: subparsers of the program.
    """
    text = "serve a saved model over HTTP"
    serve = commands.add_parser(
        "serve",
        help=text,
        description=f"{text}: OpenAI-compatible embeddings, codes, and a page to look at them",
        epilog="Example: latticegraph serve --model runs/8cube/model --bank sentences.txt",
    )
    serve.add_argument(
        "--model", required=True, metavar="DIR", help="folder of a saved model (RUN/model)"
    )
    serve.add_argument(
        "--name", dest="served_name", help="name of the model in requests; default: that of the run"
    )
    serve.add_argument("--host", default="127.0.0.1", help="address (default 127.0.0.1)")
    serve.add_argument(
        "--port", type=int, default=8000, metavar="N", help="0 takes a free one (default 8000)"
    )
    serve.add_argument(
        "--api-key",
        metavar="KEY",
        help=f"that clients must send; better in {KEY_VARIABLE}, where no other program sees it",
    )
    serve.add_argument(
        "--bank",
        metavar="FILE",
        help="sentences, one a line, among which the nearest is looked up; or the folder of a bank "
        "or of a decoder that writes",
    )
    serve.add_argument(
        "--trust",
        nargs="+",
        default=[],
        metavar="CLASS",
        help="class paths (file.py:Class) that the model names and whose code may run",
    )
    for name, (kind, default, about) in _LIMITS.items():
        serve.add_argument(
            f"--{name.replace('_', '-')}",
            type=kind,
            default=default,
            metavar="N",
            help=f"{about} (default {default:,})",
        )


def run_serve(options: argparse.Namespace) -> int:
    """Serve until a signal comes.

    Args:
        options: of the command line.

    Raises:
        LatticeGraphError: something is missing or out of range.
    """
    from latticegraph.serving.extra import require_serve

    require_serve()
    from latticegraph.serving.server import default_name, serve
    from latticegraph.serving.settings import ServeSettings

    settings = ServeSettings.of(
        name=options.served_name or default_name(options.model),
        api_key=options.api_key or os.environ.get(KEY_VARIABLE) or None,
        **{name: getattr(options, name) for name in _LIMITS},
    )
    serve(options.model, settings, options.host, options.port, options.bank, options.trust)
    return 0
