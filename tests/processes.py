"""Python processes that start at once: forks of one that has imported everything.

A fork does what a fresh interpreter does with the same words, in a folder and an environment of its
own. What it cannot show needs a fresh interpreter: what is imported when, what the environment sets
before the first import, the encoding of the standard streams.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

PATIENCE = 240.0  # seconds until a process counts as hanging
OFTEN = 0.005  # seconds between two looks
PRELOADED = (
    "latticegraph.pipeline.compare_runs",
    "latticegraph.pipeline.describe_run",
    "latticegraph.pipeline.encode_run",
    "latticegraph.pipeline.evaluate_run",
    "latticegraph.pipeline.train_run",
    "matplotlib.figure",
    "scipy.stats",
    "sklearn.decomposition",
    "torch._dynamo",
    "torch.distributed",
    "torch.utils.tensorboard",
)


class Fork:
    """A process that runs ``python *words``; what tests use of ``subprocess.Popen``.

    Its output goes to files, so that it never waits for a reader.

    Args:
        words: a script or ``-m`` and a module, and their arguments.
        cwd: its folder; None: that of the test.
        env: its environment; None: that of the test.
    """

    def __init__(
        self, words: Sequence[str], cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        self.returncode: int | None = None
        self._files = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115
        said, says = os.pipe()
        request = {
            "words": [str(word) for word in words],
            "cwd": str(Path.cwd() if cwd is None else cwd),
            "env": dict(os.environ if env is None else env),
        }
        numbers = [*(file.fileno() for file in self._files), says]
        socket.send_fds(_server(), [json.dumps(request).encode()], numbers)
        os.close(says)
        self._said = os.fdopen(said, encoding="utf-8")
        self.pid = int(self._said.readline())

    def poll(self, patience: float = 0.0) -> int | None:
        """The exit status; None while it runs."""
        if self.returncode is None and select.select([self._said], [], [], patience)[0]:
            line = self._said.readline()
            assert line, "the server of forks has ended"
            self.returncode = int(line)
            self._said.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once, unless it has ended."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float = PATIENCE) -> tuple[str, str]:
        """Wait for its end; its standard output and standard error."""
        if self.poll(timeout) is None:
            self.kill()
            raise subprocess.TimeoutExpired("fork", timeout)
        texts = []
        for file in self._files:
            file.seek(0)
            texts.append(file.read().decode("utf-8"))
            file.close()
        return texts[0], texts[1]


def run(
    words: Sequence[str], cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """What ``subprocess.run`` of ``python *words`` returns."""
    process = Fork(words, cwd, env)
    out, err = process.communicate()
    assert process.returncode is not None
    return subprocess.CompletedProcess(list(words), process.returncode, out, err)


def torchrun_variables(count: int) -> list[dict[str, str]]:
    """What torchrun sets in the environments of ``count`` processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    common = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [common | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]


@contextlib.contextmanager
def started_together(
    count: int, words: Sequence[str], cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Iterator[list[Fork]]:
    """``count`` processes with the variables that torchrun sets; none outlives the block."""
    common = dict(os.environ if env is None else env)
    processes = [Fork(words, cwd, common | own) for own in torchrun_variables(count)]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()


def run_together(
    count: int, words: Sequence[str], cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> list[subprocess.CompletedProcess[str]]:
    """What each of ``count`` processes returns."""
    done = []
    with started_together(count, words, cwd, env) as processes:
        for process in processes:
            out, err = process.communicate()
            assert process.returncode is not None
            done.append(subprocess.CompletedProcess(list(words), process.returncode, out, err))
    return done


@cache
def _server() -> socket.socket:
    """The way to the process that forks, started when first needed, once per process of pytest."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno()), *PRELOADED],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def serve(requests: socket.socket, preloaded: Sequence[str]) -> None:
    """Import, then fork for every request until the other end closes; then no fork is left."""
    from latticegraph.startup import tune_process

    tune_process()
    for name in preloaded:
        importlib.import_module(name)
    names = [path.read_text("utf-8") for path in Path("/proc/self/task").glob("*/comm")]
    # A fork has no other thread than this one; that allocator starts its own again.
    assert [n for n in names if not n.startswith("jemalloc")] == names[:1], names
    gc.collect()
    gc.freeze()
    running: dict[int, int] = {}
    while True:
        if select.select([requests], [], [], OFTEN if running else None)[0]:
            message, numbers, _, _ = socket.recv_fds(requests, 2**20, 3)
            if not message:
                break
            out, err, says = numbers
            pid = os.fork()
            if pid == 0:
                requests.close()
                for other in (*running.values(), says):
                    os.close(other)
                become(json.loads(message), out, err)
            for number in (out, err):
                os.close(number)
            os.write(says, f"{pid}\n".encode())
            running[pid] = says
        while running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            says = running.pop(pid)
            with contextlib.suppress(BrokenPipeError):
                os.write(says, f"{os.waitstatus_to_exitcode(status)}\n".encode())
            os.close(says)
    for pid in running:
        os.kill(pid, signal.SIGKILL)


def become(request: dict, out: int, err: int) -> None:
    """Run what a request asks for, in this process, and end it."""
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.clear()
        os.environ.update(request["env"])
        os.chdir(request["cwd"])
        for source, number in ((out, 1), (err, 2)):
            os.dup2(source, number)
        sys.stdout, sys.stderr = (
            io.TextIOWrapper(io.FileIO(n, "wb"), "utf-8", write_through=True) for n in (1, 2)
        )
        status = run_words(request["words"])
        # As an interpreter that ends: threads that are no daemons, then atexit.
        threading._shutdown()
        atexit._run_exitfuncs()
    finally:
        os._exit(status)


def run_words(words: list[str]) -> int:
    """The exit status of a script or of ``-m`` and a module."""
    is_module = words[0] == "-m"
    sys.argv = words[1:] if is_module else words
    folder = str(Path.cwd()) if is_module else str(Path(words[0]).resolve().parent)
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:1] = [folder, *filter(None, given)]
    try:
        if is_module:
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit as stop:
        if stop.code is None or isinstance(stop.code, int):
            return stop.code or 0
        print(stop.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as other_end:
        serve(other_end, sys.argv[2:])
