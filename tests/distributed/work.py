"""What the processes of these tests do: ``python work.py FOLDER JOBS``.

JOBS is a JSON object of options by name; ``task`` is a function of this file. Each process leaves
``RANK.safetensors`` in the folder, with tensors named ``JOB/TENSOR``.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from pathlib import Path

import torch
from rich.console import Console
from safetensors.torch import save_file

from latticegraph.aggregation import SlabCells, divide_cells
from latticegraph.config import Config
from latticegraph.distributed import (
    ALONE,
    Processes,
    all_gather,
    all_sum,
    copy_from_writer,
    joined,
    sum_in_place,
)
from latticegraph.distributed.neighbours import swap
from latticegraph.lattice import LatticeGraph
from latticegraph.model import Student, build_student
from latticegraph.training import EmbeddingPairs, EmbeddingTrainer, training_objective
from latticegraph.training.optimizer import StudentOptimizer
from latticegraph.training.plan import PlannedUpdate
from latticegraph.training.run_folder import RunFolder
from latticegraph.training.running_means import RunningMeans
from latticegraph.training.update import Updater

WIDTH, BATCH = 16, 12
LOSSES = ("reconstruction", "similarity", "structure", "diversity", "emergence", "dynamics")


def _config(options):
    phases = [
        {"name": "warm-up", "updates": 3, "warmup": 0.9, "schedule": "constant"},
        {"name": "main", "updates": 5, "learning_rate": 0.004},
    ]
    tree = {
        "run": {"threads": 1, "device": "cpu", "seed": 1},
        "lattice": {"dimensions": [3, 4, 5], "adaptive_radius_min": 1.6, "cache_dir": None},
        "model": {
            "state_channels": 4,
            "dynamics": {"steps": 3, "min_steps": 3},
            "messages": {"edge_hidden": 4, "heads": 2},
            "transformer": {"hidden": 8},
            "gating": {"balance_weight": 0.3, "z_weight": 0.2},
        },
        "losses": dict.fromkeys((*LOSSES, "spatial"), 0.5),
        "teacher": {"dimension": WIDTH},
        "training": {"batch_size": BATCH, "accumulate": 2, "phases": phases, "log_every": 3},
        "evaluation": {"batch_size": 7},
    }
    for key, value in options.get("changes", {}).items():
        section, name = key.rsplit(".", 1)
        place = tree
        for part in section.split("."):
            place = place.setdefault(part, {})
        place[name] = value
    return Config.model_validate(tree)


def _build(config: Config, processes: Processes) -> tuple[LatticeGraph, Student]:
    """The whole lattice, or a slab of it where processes share the cube."""
    holders = processes if config.run.parallel == "slabs" else ALONE
    graph = LatticeGraph.build(config.lattice)
    cells = divide_cells(graph, holders)
    student = build_student(config.model, graph, WIDTH, config.run.seed, cells=cells)
    return graph, student


def _rows(samples, seed):
    generator = torch.Generator().manual_seed(seed)
    basis = torch.randn(6, WIDTH, generator=torch.Generator().manual_seed(0))
    rows = torch.randn(samples, 6, generator=generator) @ basis
    return rows + 0.3 * torch.randn(samples, WIDTH, generator=generator)


def collectives(processes, folder, options):
    """Gradients of collectives where every process has a scalar of its own."""
    rank, size = processes.rank, processes.size
    x = torch.arange(6.0, dtype=torch.float64).view(2, 3).add(7 * rank + 1).requires_grad_()
    lengths = [2 + r for r in range(size)]
    start = 10 * sum(lengths[:rank])
    y = torch.arange(start, start + 2 * lengths[rank], dtype=torch.float64).view(2, -1)
    y = (y / 9).requires_grad_()
    total = all_sum(x, processes)
    rows = all_gather(x, processes)
    columns = all_gather(y, processes, dim=1, sizes=lengths)
    ((rank + 1) * (total.sin().sum() + rows.pow(3).sum() + (columns.cos() * total[0, 0]).sum())
     ).backward()  # fmt: skip
    bucket = [torch.full((2, 2), rank + 1.0), torch.full((3,), 10.0 * (rank + 1))]
    sum_in_place(bucket, processes)
    copied = torch.full((2, 3), float(rank)).T
    copy_from_writer([copied], processes)
    said = processes.from_writer({"text": "é", "x": 0.1} if rank == 0 else None)
    agreed = [processes.largest(3 * rank), processes.any_of(rank == 1), processes.any_of(False)]
    mark = folder / "mark"
    found = processes.writer_first(lambda: mark.write_text("", "utf-8") or mark.is_file())
    return {
        "x": x.grad,
        "y": y.grad,
        "total": total.detach(),
        "rows": rows.detach(),
        "columns": columns.detach(),
        "bucket": torch.cat([part.flatten() for part in bucket]),
        "copied": copied,
        "said": torch.tensor([said == {"text": "é", "x": 0.1}, found]),
        "agreed": torch.tensor([int(value) for value in agreed]),
    }


def swapped(processes, folder, options):
    """What every process sends says from whom it is and which way it goes."""
    rank = processes.rank
    shape = (2, 3)
    to_before = torch.full(shape, 10.0 * rank + 1).T.contiguous().T  # not contiguous
    to_after = torch.full(shape, 10.0 * rank + 2)
    from_before, from_after = swap(to_before, to_after, processes)
    return {"from_before": from_before, "from_after": from_after}


def updates(processes, folder, options):
    """Four updates in float64; weights, moments, and the gradient of the first update."""
    config = _config(options)
    graph, student = _build(config, processes)
    student = student.double()
    student.dynamics.checkpoint_steps = config.training.recomputed_steps
    rows = _rows(80, 3).double()
    targets = _rows(80, 4).double() + rows
    student.start_from_data(rows, targets)
    pairs = EmbeddingPairs(rows, targets)
    objective = training_objective(config, graph, student, pairs).double()
    objective.set_processes(processes)
    optimizer = StudentOptimizer(student, config.training)
    updater = Updater(
        student, objective, optimizer, config.training, RunFolder(folder), processes=processes
    )
    means = RunningMeans(student.dynamics.names, config.model.dynamics.steps)
    found = {}
    for number in range(4):
        parts = torch.arange(number * 2 * BATCH, (number + 1) * 2 * BATCH) % 80
        batches = (pairs.batch(index_B) for index_B in parts.split(BATCH))
        updater.update(batches, PlannedUpdate(number + 1, 0, 0, 0.01), means, measure=False)
        if number == 0:
            named = student.named_parameters()
            found |= {f"grad.{n}": p.grad.clone() for n, p in named if p.grad is not None}
    output = student(rows[:BATCH])
    found |= {"steps_B": output.steps_B, "usage": output.usage_NX, "change": output.change_T}
    if config.run.parallel == "slabs":
        found |= {"embedding": output.embedding_BD, "states": output.states_CNB}
        cells = student.dynamics.cells
        if isinstance(cells, SlabCells):
            found["held"] = torch.tensor([output.states_CNB.shape[1], *cells.sizes()])
            found["states"] = cells.gather(output.states_CNB, dim=1)
    found |= {f"means.{name}": value for name, value in means.tensors().items()}
    weighting = objective.weighting.tensors()
    found |= {f"weighting.{name}": value for name, value in weighting.items()}
    found |= {f"average.{name}": value for name, value in optimizer.average.tensors().items()}
    return found | optimizer.tensors() | student.state_dict()


def fit(processes, folder, options):
    """A whole training; ``stop`` = [rank, pass] sends that process a SIGTERM in that pass."""
    config = _config(options)
    graph, student = _build(config, processes)
    student = student.double()  # the order of a sum must not show
    train, validation = _rows(60, 5).double(), _rows(20, 6).double()
    trainer = EmbeddingTrainer(
        config,
        student,
        graph,
        EmbeddingPairs(train, train),
        EmbeddingPairs(validation, validation),
        folder / options["run"],
        console=Console(file=io.StringIO()),
        processes=processes,
    )
    count = 0

    def hook(module, *_):
        nonlocal count
        count += module.training
        rank, at_pass = options.get("stop", (0, 0))
        if module.training and (rank % processes.size, at_pass) == (processes.rank, count):
            os.kill(os.getpid(), signal.SIGTERM)
        if module.training and options.get("fail") == processes.rank and count == 5:
            raise OSError("the disk of this process")

    student.register_forward_pre_hook(hook)
    dropped = []
    for module in student.modules():
        if isinstance(module, torch.nn.Dropout):
            module.register_forward_hook(
                lambda own, _, out: dropped.append(out == 0) if own.training else None
            )
    noises = []
    disturb = student.mapper.disturbed

    def disturbed(surface_BS):
        noisy_BS = disturb(surface_BS)
        if student.training:
            noises.append((noisy_BS - surface_BS).detach())
        return noisy_BS

    student.mapper.disturbed = disturbed
    last = trainer.state.folder.last
    result = trainer.fit(last if options.get("resume") else None)
    numbers = [result.updates, result.signal or 0, result.best_update]
    tensors = student.state_dict() | trainer.state.optimizer.tensors()
    if dropped and config.run.parallel == "slabs":
        tensors["dropped"] = torch.cat(dropped)
        tensors["noise"] = torch.cat(noises)
    average = trainer.state.optimizer.average.tensors()
    tensors |= {f"average.{name}": value for name, value in average.items()}
    return tensors | {"result": torch.tensor(numbers)}


def main() -> None:
    folder, jobs = Path(sys.argv[1]), json.loads(sys.argv[2])
    torch.manual_seed(0)
    torch.set_num_threads(1)
    found = {}
    with joined() as processes:
        for job, options in jobs.items():
            result = globals()[options["task"]](processes, folder, options)
            # Clones: safetensors refuses tensors that share memory.
            found |= {f"{job}/{n}": t.detach().clone().contiguous() for n, t in result.items()}
    save_file(found, folder / f"{processes.rank}.safetensors")


if __name__ == "__main__":
    main()
