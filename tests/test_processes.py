"""A fork does what a fresh interpreter does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import processes

SCRIPT = """
import atexit, json, os, sys, threading
print(json.dumps([sys.argv, os.getcwd(), os.environ.get("COLOUR"), sys.path[0], __name__]))
print("café", file=sys.stderr)
atexit.register(print, "at exit")
threading.Timer(0.1, print, ["from a thread"]).start()
end = sys.argv[1]
if end == "error":
    raise ValueError("wrong")
if end == "text":
    sys.exit("the text")
sys.exit(int(end))
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (tmp_path / "beside").mkdir()
    path = tmp_path / "beside" / "script.py"
    path.write_text(SCRIPT, encoding="utf-8")
    return path


@pytest.mark.parametrize("end", ["0", "7", "text", "error"])
def test_fork_ends_and_speaks_like_an_interpreter(tmp_path: Path, script: Path, end: str) -> None:
    environment = os.environ | {"COLOUR": "blue", "PYTHONIOENCODING": "utf-8"}
    environment["PYTHONUNBUFFERED"] = "1"  # lines of two threads in one order
    words = [str(script), end, "--option", "a b"]
    real = subprocess.run(
        [sys.executable, *words],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    fork = processes.run(words, tmp_path, environment)
    assert fork.returncode == real.returncode
    assert fork.stdout == real.stdout
    assert json.loads(fork.stdout.splitlines()[0])[2] == "blue"
    assert fork.stderr.splitlines()[0] == "café"
    assert fork.stderr.splitlines()[-1] == real.stderr.splitlines()[-1]


def test_forks_share_nothing_and_a_module_is_found_in_the_folder(tmp_path: Path) -> None:
    text = "import os, sys; print(os.environ.pop('ONCE'), sys.modules.pop('json').__name__)"
    (tmp_path / "once.py").write_text(text, encoding="utf-8")
    for _ in range(2):
        done = processes.run(["-m", "once"], tmp_path, os.environ | {"ONCE": "yes"})
        assert (done.returncode, done.stdout) == (0, "yes json\n"), done.stderr


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [(signal.SIGINT, 1, "KeyboardInterrupt"), (signal.SIGKILL, -9, ""), (signal.SIGTERM, -15, "")],
)
def test_signal_reaches_a_fork(tmp_path: Path, number: int, status: int, said: str) -> None:
    text = "import pathlib, time; pathlib.Path('there').touch(); time.sleep(60)"
    (tmp_path / "sleep.py").write_text(text, encoding="utf-8")
    fork = processes.Fork(["sleep.py"], tmp_path)
    while not (tmp_path / "there").exists():
        assert fork.poll(0.01) is None
    fork.send_signal(number)
    _, errors = fork.communicate(10)
    assert fork.returncode == status
    assert said in errors


def test_fork_that_hangs_is_killed(tmp_path: Path) -> None:
    (tmp_path / "sleep.py").write_text("import time; time.sleep(60)", encoding="utf-8")
    fork = processes.Fork(["sleep.py"], tmp_path)
    with pytest.raises(subprocess.TimeoutExpired):
        fork.communicate(0.1)
    assert fork.poll(10) == -9


def test_processes_together_know_each_other_and_none_is_left(tmp_path: Path) -> None:
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    text = f"import os; print(*(os.environ[name] for name in {names}))"
    (tmp_path / "name.py").write_text(text, encoding="utf-8")
    first, second = (
        done.stdout.split() for done in processes.run_together(2, ["name.py"], tmp_path)
    )
    assert (first[:3], second[:3]) == (["0", "0", "2"], ["1", "1", "2"])
    assert first[3:] == second[3:]
    (tmp_path / "sleep.py").write_text("import time; time.sleep(60)", encoding="utf-8")
    with processes.started_together(2, ["sleep.py"], tmp_path) as forks:
        assert [fork.poll() for fork in forks] == [None, None]
    assert [fork.poll(10) for fork in forks] == [-9, -9]


def test_forks_end_with_their_server() -> None:
    """A process of pytest that is killed leaves nothing running."""
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); import processes; "
        "processes.PRELOADED = (); "
        ""
        "fork = processes.Fork(['-m', 'timeit', '-n', '1', 'import time; time.sleep(60)']); "
        "print(fork.pid, flush=True); os._exit(0)"
    )
    command = [sys.executable, "-c", code, str(Path(processes.__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    pid = int(done.stdout)
    for _ in range(1000):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)
    pytest.fail("the fork still runs")
