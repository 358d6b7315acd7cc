"""The files of one run: names, clean-up, and what to resume from."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from latticegraph.errors import CheckpointError
from latticegraph.files import remove_partial_files, replace_file

_PERIODIC = re.compile(r"epoch-(\d+)\.safetensors")


class RunFolder:
    """Where a run keeps its metrics, TensorBoard events and checkpoints.

    ``checkpoints/last.safetensors`` is what a resume continues, ``best.safetensors`` what an
    evaluation uses, ``epoch-0005.safetensors`` a periodic copy.

    Args:
        path: the run's own folder; made at the first write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.last = self.checkpoints / "last.safetensors"
        self.best = self.checkpoints / "best.safetensors"
        self.metrics = path / "metrics.jsonl"
        self.events = path / "tensorboard"

    def epoch(self, number: int) -> Path:
        """The periodic checkpoint after ``number`` epochs."""
        return self.checkpoints / f"epoch-{number:04d}.safetensors"

    def periodic(self) -> list[tuple[int, Path]]:
        """Epoch and file of all periodic checkpoints, oldest first."""
        found = []
        for path in self.checkpoints.glob("epoch-*.safetensors"):
            match = _PERIODIC.fullmatch(path.name)
            if match:
                found.append((int(match[1]), path))
        return sorted(found)

    def prune(self, keep: int) -> None:
        """Delete all but the ``keep`` newest periodic checkpoints."""
        for _, path in self.periodic()[:-keep]:
            path.unlink(missing_ok=True)

    def start(self) -> None:
        """Make an unused folder ready.

        Raises:
            CheckpointError: when a run is already there.
        """
        check_unused(self.path)
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        remove_partial_files(self.checkpoints)
        replace_file(self.metrics, lambda temporary: temporary.write_bytes(b""))

    def resume(self, checkpoint: Path, epoch: int, metrics_bytes: int) -> None:
        """Bring the folder back to the moment of ``checkpoint``; what came after it is deleted.

        A checkpoint of another run folder brings that run's metrics and best checkpoint with it.

        Args:
            checkpoint: what the run continues from.
            epoch: epochs completed at that moment.
            metrics_bytes: length of metrics.jsonl at that moment.

        Raises:
            CheckpointError: when the metrics up to that moment are not there.
        """
        origin = RunFolder(checkpoint.resolve().parent.parent)
        kept = b""
        if origin.metrics.is_file():
            with origin.metrics.open("rb") as file:
                kept = file.read(metrics_bytes)
        if len(kept) < metrics_bytes:
            raise CheckpointError(
                str(origin.metrics),
                f"expected at least the {metrics_bytes} bytes logged before the checkpoint, got "
                f"{len(kept)}",
                "Put metrics.jsonl back beside the checkpoints folder, or start a new run",
            )
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        remove_partial_files(self.checkpoints)
        if origin.path != self.path.resolve() and origin.best.is_file():
            replace_file(self.best, lambda temporary: shutil.copyfile(origin.best, temporary))
        for number, path in self.periodic():
            if number > epoch:
                path.unlink()
        replace_file(self.metrics, lambda temporary: temporary.write_bytes(kept))


def check_unused(run_dir: Path) -> None:
    """Refuse to train over the checkpoints of an earlier run.

    Raises:
        CheckpointError: when ``run_dir`` holds a checkpoint to resume from.
    """
    folder = RunFolder(run_dir)
    if folder.last.is_file():
        raise CheckpointError(
            str(run_dir),
            "expected a folder without checkpoints for a new run, got those of an earlier one",
            "Continue it with --resume auto, choose another run.name, or delete the folder",
        )


def resolve_resume(resume: str, run_dir: Path) -> Path | None:
    """What a resume setting means for a run.

    Args:
        resume: ``false`` starts anew; ``true`` continues and needs a checkpoint; ``auto`` continues
            where there is one; anything else is the path of a checkpoint.
        run_dir: the run's folder.

    Returns:
        The checkpoint to continue from, None for a new run.

    Raises:
        CheckpointError: when there is nothing to continue from, or an earlier run is in the way.
    """
    last = RunFolder(run_dir).last
    if resume == "false":
        check_unused(run_dir)
        return None
    if resume == "auto":
        return last if last.is_file() else None
    path = last if resume == "true" else Path(resume).expanduser()
    if not path.is_file():
        raise CheckpointError(
            "--resume",
            f"expected a checkpoint, got no file '{path}'",
            "Use --resume auto to start where there is none, or name an existing checkpoint",
        )
    return path
