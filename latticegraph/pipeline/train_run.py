"""The main job: train a cube, then report on held-out text."""

from __future__ import annotations

from typing import Any

from latticegraph.config import Config
from latticegraph.dashboard import write_dashboard
from latticegraph.distributed import ALONE, Processes
from latticegraph.pipeline.fit_run import FittedRun, fit
from latticegraph.pipeline.report_run import train_side_runs, write_run_report
from latticegraph.run_lock import RunLock
from latticegraph.training import TrainingResult


def train(config: Config, resume: str = "false", processes: Processes = ALONE) -> dict[str, Any]:
    """:func:`~latticegraph.pipeline.fit_run.fit`, then the report of the best model.

    The run folder also receives ``report.json``, ``report.md``, ``report.html`` and ``charts/``. No
    other process can work in it from the start to the end of this call.

    Args:
        config: the whole configuration.
        resume: ``false``, ``true``, ``auto`` or the path of a checkpoint; see
            :func:`~latticegraph.pipeline.run_folder.plan_folder`.
        processes: of the run. They train together; the writer makes the files and the report. All
            must see the same files.

    Returns:
        ``run_dir``, ``reason`` (``finished``, ``early`` or ``interrupted``), ``signal`` (the number
        of the signal that interrupted, else None), ``updates``, and ``report`` (None after an
        interruption, and in every process but the writer).

    Raises:
        LatticeGraphError: a setting, the text, the teacher, a checkpoint or the disk is at fault,
            or another process works in the folder.
    """
    with RunLock() as lock:
        return finish(fit(config, resume, processes, lock=lock))


def finish(run: FittedRun, command: str | None = None) -> dict[str, Any]:
    """Train the controls and write the report of a run; nothing after an interruption.

    The caller holds the lock of the run's folder.

    Args:
        run: trained by :func:`~latticegraph.pipeline.fit_run.fit`.
        command: that started the run, for the report.

    Returns:
        As :func:`train`.

    Raises:
        LatticeGraphError: a checkpoint or the disk is at fault.
    """
    if run.result.reason == "interrupted":
        return _outcome(run, run.result, None)
    side = train_side_runs(run)
    report = write_run_report(run, side, command)
    if report is not None and run.config.report.dashboard_every:
        write_dashboard([run.folder], going=False)
    return _outcome(run, side.interrupted or run.result, report)


def _outcome(run: FittedRun, last: TrainingResult, report: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "run_dir": str(run.folder),
        "reason": last.reason,
        "signal": last.signal,
        "updates": run.result.updates,
        "report": report,
    }
