"""A project of few short sentences (a 3 x 3 x 3 cube, a teacher that is an array), and its runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.processes import Fork, run, run_together, started_together

WIDTH = 12
ROOT = Path(__file__).parents[2]
TRAIN = ROOT / "scripts" / "train.py"
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def train_command(name: str, *options: str, processes: int = 2) -> list[str]:
    """The train script on ``small.yaml``, under torchrun or alone."""
    script = [str(TRAIN), "--config", "small.yaml"]
    starter = TORCHRUN if processes == 2 else ()
    return [sys.executable, *starter, *script, "--experiment-name", name, *options]


def train(
    project: Path, name: str, *options: str, processes: int = 2
) -> subprocess.CompletedProcess[str]:
    """A whole run."""
    return subprocess.run(
        train_command(name, *options, processes=processes),
        cwd=project,
        capture_output=True,
        encoding="utf-8",
        timeout=240,
        check=False,
    )


def train_forks(
    project: Path, name: str, *options: str, processes: int = 2
) -> subprocess.CompletedProcess[str]:
    """A whole run by forks with the variables of torchrun; their outputs one after another."""
    words = [str(TRAIN), "--config", "small.yaml", "--experiment-name", name, *options]
    if processes == 1:
        return run(words, project)
    done = run_together(processes, words, project)
    status = max(abs(process.returncode) for process in done)
    out, err = ("".join(getattr(p, stream) for p in done) for stream in ("stdout", "stderr"))
    return subprocess.CompletedProcess(words, status, out, err)


def interrupted(
    words: Sequence[str], project: Path, name: str, environment: Mapping[str, str] = os.environ
) -> tuple[int, str]:
    """Exit status and standard error of a run that Ctrl-C stops once it has logged an update."""
    process = subprocess.Popen(
        words,
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    try:
        wait_for_update([process], project, name)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    return process.returncode, errors


def interrupted_forks(project: Path, name: str, *options: str, processes: int = 2) -> str:
    """Standard errors of forks that Ctrl-C stops once they have logged an update."""
    words = [str(TRAIN), "--config", "small.yaml", "--experiment-name", name, *options]
    with started_together(processes, words, project) as forks:
        wait_for_update(forks, project, name)
        for fork in forks:
            fork.send_signal(signal.SIGINT)
        return "".join(fork.communicate(120)[1] for fork in forks)


def wait_for_update(
    processes: Sequence[subprocess.Popen[str] | Fork], project: Path, name: str
) -> None:
    """Wait until a run has logged an update."""
    metrics = project / "runs" / name / "metrics.jsonl"
    limit = time.monotonic() + 120
    while not (metrics.is_file() and '"kind": "train"' in metrics.read_text("utf-8")):
        assert [process.poll() for process in processes] == [None] * len(processes)
        assert time.monotonic() < limit
        time.sleep(0.01)


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``small.yaml``, ``corpus.txt``, and ``new.txt`` that ends in new lines."""
    folder = tmp_path_factory.mktemp("project")
    lines = [f"Sentence {i} of the café, number {i * i} 🙂" for i in range(90)]
    random = np.random.default_rng(0)
    np.save(folder / "rows.npy", random.normal(size=(len(lines), WIDTH)).astype(np.float32))
    (folder / "known.txt").write_text("\n".join(lines), encoding="utf-8")
    (folder / "corpus.txt").write_text("\n".join(lines[:80]), encoding="utf-8")
    (folder / "new.txt").write_text("\n".join(lines[75:]), encoding="utf-8")
    text = f"""
run: {{device: cpu}}
lattice: {{dimensions: [3, 3, 3], adaptive_radius_min: 1.6}}
model: {{state_channels: 4, messages: {{heads: 4}}, dynamics: {{steps: 3, min_steps: 3}}}}
teacher: {{kind: array, name: rows.npy, texts: known.txt, dimension: {WIDTH}, cache_dir: cache}}
data: {{train: [corpus.txt], min_sentences: 10}}
training:
  batch_size: 16
  phases: [{{name: main, updates: 6}}]
evaluation: {{mlp_hidden: 8, baseline_epochs: 2, off_epochs: 1, decoded_examples: 2}}
report: {{attribution: none}}
"""
    (folder / "small.yaml").write_text(text, encoding="utf-8")
    return folder
