"""How long a bank takes to search, and how often a reconstruction leads back to its sentence.

    python benchmarks/bank.py random --rows 1000000
    python benchmarks/bank.py find --run runs/8cube --sentences 12000

``random`` writes a bank of random rows of length 1 into a temporary folder, opens it, and searches
it with batches of queries; some results are compared with a plain float64 product. ``find`` puts
the held-out sentences of a run and as many of its training sentences into a bank, and looks up the
reconstructions of the held-out ones by the cube and by PCA with as many numbers.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from latticegraph.config import load_config
from latticegraph.decoding import KnownTeacher
from latticegraph.decoding.bank import BankDecoder
from latticegraph.decoding.bank_files import write_bank
from latticegraph.evaluation.linear_baselines import PcaBaseline
from latticegraph.hub import LatticeModel
from latticegraph.pipeline.prepare import prepare

WIDTH = 384
BLOCK = 8192
CHECKED = 4  # queries compared with the plain product


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def random_blocks(rows: int) -> Iterator[tuple[list[str], np.ndarray]]:
    """Numbered texts and random rows of length 1."""
    random = np.random.default_rng(0)
    for first in range(0, rows, BLOCK):
        made = random.standard_normal((min(BLOCK, rows - first), WIDTH), dtype=np.float32)
        made /= np.linalg.norm(made, axis=1, keepdims=True)
        yield [f"sentence {first + i}" for i in range(len(made))], made


def memory() -> str:
    """Memory of this process now, without and with pages of files, and the most so far."""
    status = Path("/proc/self/status").read_text("utf-8").splitlines()
    value = {line.split(":")[0]: int(line.split()[1]) for line in status if "kB" in line}
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (
        f"{value['RssAnon'] / 1e3:,.0f} MB own, {value['VmRSS'] / 1e3:,.0f} MB with mapped files, "
        f"{most / 1e3:,.0f} MB at most"
    )


def search_random(rows: int, batches: Sequence[int], folder: Path) -> None:
    """Print the time of building, opening and searching a bank of random rows."""
    began = time.perf_counter()
    teacher = KnownTeacher(name="random", dimension=WIDTH, fingerprint="0" * 64)
    write_bank(folder / "bank", random_blocks(rows), teacher)
    size = sum(path.stat().st_size for path in (folder / "bank").iterdir())
    say(f"written: {rows:,} rows, {size / 1e9:.2f} GB, {time.perf_counter() - began:.1f} s")
    began = time.perf_counter()
    bank = BankDecoder.open(folder / "bank")
    say(f"opened, digests compared: {time.perf_counter() - began:.1f} s; {memory()}")
    random = np.random.default_rng(1)
    for count in batches:
        query = random.standard_normal((count, WIDTH))
        clock, processor = [], []
        for _ in range(3):
            began, used = time.perf_counter(), time.process_time()
            found = bank.decode(query, 10)
            clock.append(time.perf_counter() - began)
            processor.append(time.process_time() - used)
        say(
            f"{count} queries, 10 nearest: {sorted(clock)[1]:.2f} s, {sorted(processor)[1]:.2f} s "
            f"of the processor; {memory()}"
        )
    checked = query[:CHECKED] / np.linalg.norm(query[:CHECKED], axis=1, keepdims=True)
    best = np.concatenate(
        [block.astype(np.float64) @ checked.T for _, block in random_blocks(rows)]
    )
    wanted = np.argsort(-best, axis=0)[:10].T.tolist()
    same = [[one.index for one in row] for row in found[:CHECKED]] == wanted
    say(f"the {len(checked)} first queries are ranked as by a float64 product: {same}")


def find_again(run: Path, sentences: int, folder: Path) -> None:
    """Print the share of held-out sentences that a reconstruction leads back to."""
    config = load_config(run / "config.yaml")
    prepared = prepare(config, torch.device("cpu"))
    model = LatticeModel.from_pretrained(run / "model")
    samples = [*prepared.splits.heldout, *prepared.splits.train][:sentences]
    rows = torch.cat([prepared.heldout.target_ND, prepared.train.target_ND])[:sentences].numpy()
    texts = [sample.target for sample in samples]
    identity = prepared.identity
    teacher = KnownTeacher(
        name=identity.name, dimension=identity.dimension, fingerprint=identity.fingerprint
    )
    kept = write_bank(folder / "bank", [(texts, rows)], teacher)
    bank = BankDecoder.open(folder / "bank")
    source = prepared.heldout.source_ND
    pca = PcaBaseline(model.student.surface_width)
    train = prepared.train.source_ND.double().numpy()
    pca.fit(train, train)
    made = {
        "cube": model.predict(source).float().numpy(),
        f"PCA, {model.student.surface_width} numbers": pca.predict(source.double().numpy()),
    }
    say(f"{kept:,} sentences, {len(source):,} of them held out")
    for name, prediction in made.items():
        found = bank.decode(prediction, 10)
        meant = texts[: len(source)]
        first = np.mean([row[0].text == text for row, text in zip(found, meant, strict=True)])
        ten = np.mean(
            [text in {one.text for one in row} for row, text in zip(found, meant, strict=True)]
        )
        say(f"{name}: the very sentence is nearest for {first:.1%}, among 10 for {ten:.1%}")


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="what", required=True)
    random = commands.add_parser("random", help="a bank of random rows")
    random.add_argument("--rows", type=int, default=1_000_000)
    random.add_argument("--queries", type=int, nargs="+", default=[1, 32, 256])
    find = commands.add_parser("find", help="reconstructions of held-out sentences")
    find.add_argument("--run", type=Path, required=True, help="folder of a finished run")
    find.add_argument("--sentences", type=int, default=12_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.what == "random":
            search_random(options.rows, options.queries, Path(folder))
        else:
            find_again(options.run, options.sentences, Path(folder))


if __name__ == "__main__":
    main()
