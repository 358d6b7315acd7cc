"""One process at a time in a run's folder."""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from latticegraph.errors import ConfigError
from latticegraph.files import replace_file

LOCK_FILE, HOLDER_FILE = ".lock", ".holder.json"
PATIENCE = 1.0


class RunLock(ExitStack):
    """Keeps a run's folder for this process; used in a ``with`` block that covers all its work.

    The system's lock on the file ``.lock`` ends with the process that holds it, however that ended,
    so that the lock of a dead process is simply taken. ``.holder.json`` says who holds it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._folder: Path | None = None

    def take(self, folder: Path) -> None:
        """Lock ``folder``, which exists; does nothing where this object already holds it.

        Raises:
            ConfigError: another process holds it, or the disk refuses.
        """
        if self._folder == folder.resolve():
            return
        assert self._folder is None, "one lock, one folder"
        lock = FileLock(folder / LOCK_FILE, timeout=PATIENCE, thread_local=False)
        holder = folder / HOLDER_FILE
        try:
            self.enter_context(lock)
            text = json.dumps(_own_record(), ensure_ascii=False)
            replace_file(holder, lambda part: part.write_text(text, encoding="utf-8"))
        except Timeout as error:
            raise ConfigError(
                str(folder),
                f"expected a run folder in which no other process works, got one held by "
                f"{_holder(folder)}",
                "Wait until that process has ended, or stop it, or choose another run.name",
            ) from error
        except OSError as error:
            raise ConfigError(
                "run.output_dir",
                f"expected to lock '{folder / LOCK_FILE}', got: {error.strerror or error}",
                "Choose a run.output_dir on a disk that can be written and locked",
            ) from error
        self.callback(holder.unlink, missing_ok=True)
        self._folder = folder.resolve()


def is_held(folder: Path) -> bool:
    """Whether a process works in a run's folder now.

    Args:
        folder: of the run; False where it cannot be locked at all, as in a read-only copy.
    """
    if not (folder / HOLDER_FILE).is_file():
        return False
    try:
        with FileLock(folder / LOCK_FILE, timeout=0, thread_local=False):
            return False
    except Timeout:
        return True
    except OSError:
        return False


def _own_record() -> dict[str, str | int]:
    return {
        "process": os.getpid(),
        "machine": socket.gethostname(),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def _holder(folder: Path) -> str:
    try:
        record = json.loads((folder / HOLDER_FILE).read_text(encoding="utf-8"))
        return "process {process} on {machine} since {since} ({command})".format(**record)
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
