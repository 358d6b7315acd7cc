"""From a folder to a running server."""

from __future__ import annotations

import logging
import math
import socket
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from latticegraph.data.lines import numbered_lines
from latticegraph.decoding import Decoder, TextDecoder
from latticegraph.errors import ConfigError
from latticegraph.hub import LatticeModel
from latticegraph.progress import show_progress
from latticegraph.serving.app import create_app
from latticegraph.serving.engine import Engine
from latticegraph.serving.settings import ServeSettings, check_address

_log = logging.getLogger(__name__)
BACKLOG = 2048
LARGEST_PORT = 65_535


def serve(
    model: str,
    settings: ServeSettings,
    host: str,
    port: int,
    bank: str | None = None,
    trust: Sequence[str] = (),
) -> None:
    """Serve a saved model until SIGTERM or Ctrl-C; what was accepted is answered first.

    Args:
        model: folder of a saved model.
        settings: key and limits.
        host: address, or a name that is looked up.
        port: 0 takes a free one; the log names it.
        bank: file of sentences for the nearest text, or folder of a decoder; None: no text is
            decoded.
        trust: class paths that the model may name.

    Raises:
        ConfigError: the address is taken or open to others without a key, or a limit is too small.
        CheckpointError, TeacherError: the model or its teacher cannot be loaded.
        DataError: the bank cannot be read.
    """
    with _bound(host, port, settings.api_key) as listener:
        loaded = LatticeModel.from_pretrained(model, trust)
        settings.check(loaded.teacher.max_tokens or 1)
        engine = Engine(loaded, read_bank(loaded, bank))
        engine.warm_up()
        name, number = listener.getsockname()[:2]
        place = f"[{name}]" if ":" in name else name
        address = f"http://{place}:{number}"

        def started() -> None:
            listener.listen(BACKLOG)
            _log.info("serving %s on %s (page: /, routes: /docs)", settings.name, address)

        config = uvicorn.Config(
            create_app(engine, settings, started),
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="on",
            ws="none",
            backlog=BACKLOG,
            timeout_graceful_shutdown=math.ceil(settings.deadline) + 5,
        )
        uvicorn.Server(config).run(sockets=[listener])


def default_name(folder: str) -> str:
    """The name of a run for ``runs/NAME/model``, else that of the folder."""
    path = Path(folder).expanduser().resolve()
    return path.parent.name if path.name == "model" else path.name


def read_bank(model: LatticeModel, file: str | None) -> Decoder | None:
    """The sentences of a file, one a line, as the model's teacher embeds them; or a folder.

    Args:
        model: with its teacher.
        file: text, or folder of a bank or of a decoder that writes, which then chooses by cosine;
            None gives None.

    Raises:
        DataError: it is missing, empty or no UTF-8.
        CheckpointError: the folder is none of a decoder, or damaged.
        TeacherError: the teacher cannot embed a line.
    """
    if file is None:
        return None
    path = Path(file).expanduser()
    if path.is_dir():
        from latticegraph.decoding.open_folder import open_decoder

        teacher = model.teacher
        return open_decoder(path, teacher.name, teacher.fingerprint, teacher.encode, method="best")
    texts = [line for _, line in numbered_lines(path)]
    with show_progress("embedding the bank", len(texts)) as progress:
        return TextDecoder(texts, model.teacher.encode(texts, progress))


def _bound(host: str, port: int, api_key: str | None) -> socket.socket:
    """A socket that has the address, and does not listen before the model is loaded."""
    if not 0 <= port <= LARGEST_PORT:  # which some systems would take modulo 65,536
        raise _taken("--port", host, port, f"a port above {LARGEST_PORT} or below 0")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise _taken("--host", host, port, error) from error
    family, kind, protocol, _, address = found[0]
    check_address(str(address[0]), api_key)
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    except OSError as error:
        made.close()
        raise _taken("--port", host, port, error) from error
    return made


def _taken(where: str, host: str, port: int, error: OSError | str) -> ConfigError:
    reason = getattr(error, "strerror", None) or error
    return ConfigError(
        where, f"expected an address to serve on, got {host}:{port}: {reason}", "Choose another one"
    )
