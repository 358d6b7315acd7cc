"""The training loop."""

from __future__ import annotations

import time
from dataclasses import replace

from latticegraph.training.batches import Sampler
from latticegraph.training.machine import StopSignals
from latticegraph.training.plan import seed_process
from latticegraph.training.progress import Reason
from latticegraph.training.state import TrainingState
from latticegraph.training.update import Updater


def run_loop(
    state: TrainingState, sampler: Sampler, updater: Updater, signals: StopSignals
) -> Reason:
    """Update the student until all phases are done, a callback stops the run, or a signal does.

    Args:
        state: started or restored.
        sampler: of the batches.
        updater: makes one update of the batches it is given.
        signals: SIGINT and SIGTERM.

    Returns:
        Why the run ended; the same in every process.
    """
    plan, progress, processes = state.plan, state.progress, state.processes
    # Processes that hold slabs run the same samples and must drop the same units.
    whole = state.student.dynamics.cells.is_whole
    drawing = processes if whole else replace(processes, rank=0)
    for callback in state.callbacks:
        callback.on_start(state)
    while True:
        # A signal may reach one process only, and all must stop before the same update.
        state.signal = processes.largest(signals.number or 0)
        if state.signal or state.at_end or processes.any_of(state.stop_requested):
            break
        began = time.perf_counter()
        planned = plan.at(progress.update)
        phase = plan.settings.phases[planned.phase]
        state.optimizer.select(phase.train)
        seed_process(state.config.run.seed, planned.number, drawing)
        batches = sampler.batches(progress.update)
        logged = plan.is_logged(planned.number)
        state.norms = updater.update(batches, planned, state.means, measure=logged)
        progress.update, progress.phase = planned.number, phase.name
        progress.epoch = progress.update // plan.updates_per_epoch
        state.seconds = time.perf_counter() - began
        state.train_seconds += state.seconds
        for callback in state.callbacks:
            callback.on_update_end(state)
        if plan.ends_epoch(progress.update) or state.at_end:
            for callback in state.callbacks:
                callback.on_epoch_end(state)
    reason: Reason = "interrupted" if state.signal else "finished" if state.at_end else "early"
    for callback in state.callbacks:
        callback.on_end(state, reason)
    return reason
