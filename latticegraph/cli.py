"""The commands of ``latticegraph``; those that use a saved model are in model_commands.py."""

from __future__ import annotations

import argparse
import errno
import json
import logging
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latticegraph.config import Config, dump_config, load_config
from latticegraph.errors import LatticeGraphError
from latticegraph.model_commands import add_model_commands
from latticegraph.startup import tune_process
from latticegraph.terminal import console, show_log, speak_utf8

if TYPE_CHECKING:
    from latticegraph.distributed import Processes

USER_ERROR = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the command and its options; None takes those of the process.

    Returns:
        The exit status: 0 done, 2 for an error of the user's, 128 + signal after an interruption.
    """
    tune_process()
    speak_utf8()
    options = _parser().parse_args(arguments)
    show_log()
    try:
        if os.environ.get("WORLD_SIZE", "1") != "1":
            return _run_together(options)
        status: int = options.run(options)
        return status
    except LatticeGraphError as error:
        return _fail(str(error))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return _fail(
            f"{error.filename or 'disk'}: {error.strerror}. Free disk space and try again."
        )
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED


def _run_together(options: argparse.Namespace) -> int:
    """Train in all processes that torchrun started; one of them runs every other command."""
    run: Callable[[argparse.Namespace], int] = options.run
    # Takes a second to import, which a single process may not need at all.
    from latticegraph.distributed import AnotherFailed, joined

    try:
        with joined() as processes:
            if run is _train and not (options.print_config or options.dry_run):
                return _train(options, processes)
            return run(options) if processes.is_writer else 0
    except AnotherFailed:
        return USER_ERROR


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="latticegraph", description="Train a cube of cells to carry the meaning of text."
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    train = _command(commands, "train", _train, "train a cube and report on held-out text")
    train.add_argument("--experiment-name", metavar="NAME", help="run folder (run.name)")
    train.add_argument(
        "--resume",
        default="false",
        metavar="WHAT",
        help="false (default): start anew; true: continue the run; auto: continue it where there "
        "is a checkpoint; or the path of a checkpoint",
    )
    train.add_argument("--print-config", action="store_true", help="print all settings and stop")
    train.add_argument(
        "--dry-run", action="store_true", help="check and build everything, write nothing"
    )
    evaluate = _command(commands, "evaluate", _evaluate, "measure a run on text it never saw")
    evaluate.add_argument("--run", dest="folder", required=True, help="folder of a finished run")
    evaluate.add_argument(
        "--data",
        nargs="+",
        default=[],
        metavar="FILE",
        help=".txt or .jsonl files; without: the run's own held-out text",
    )
    evaluate.add_argument(
        "--codec",
        nargs="*",
        metavar="ROW",
        help="measure the code at equal bytes beside pca, mlp_autoencoder, random_projection, opq "
        "and one_bit, or beside the rows named; takes minutes",
    )
    evaluate.add_argument(
        "--codec-dir",
        metavar="DIR",
        help="where codec.json, codec.svg and codec.png are written; default: codec in the run",
    )
    evaluate.add_argument("--sts", metavar="FILE", help="STS-B pairs, .tsv or .jsonl")
    evaluate.add_argument(
        "--trust",
        nargs="+",
        default=[],
        metavar="CLASS",
        help="class paths (file.py:Class) that the run names and whose code may run",
    )
    describe = _command(commands, "describe", _describe, "describe a lattice without building it")
    compare = _command(commands, "compare", _compare, "compare two configurations over seeds")
    compare.add_argument(
        "models", nargs=2, metavar="MODEL", help="YAML file, or the folder of a finished run"
    )
    compare.add_argument(
        "--seeds", type=int, default=5, metavar="N", help="train seeds 0 to N - 1 (default 5)"
    )
    for command in (evaluate, describe, compare):
        command.add_argument("--json", metavar="OUT", help="also write the result as JSON")
    add_model_commands(commands)
    return parser


def _command(commands: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser
    command = commands.add_parser(name, help=text, description=text)
    command.set_defaults(run=run)
    if name != "compare":
        command.add_argument(
            "--config",
            required=name != "evaluate",
            metavar="FILE",
            help="YAML file" + (" in place of the run's own" if name == "evaluate" else ""),
        )
    command.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="settings that win over the file, for instance training.batch_size=32",
    )
    return command


def _train(options: argparse.Namespace, processes: Processes | None = None) -> int:
    overrides = list(options.set)
    if options.experiment_name is not None:
        # Quoted, so that YAML does not read a name such as 8 as a number.
        overrides.append(f"run.name={json.dumps(options.experiment_name)}")
    config = load_config(options.config, overrides)
    if options.print_config:
        sys.stdout.write(dump_config(config))
        return 0
    if options.dry_run:
        return _dry_run(config)
    from latticegraph.distributed import ALONE
    from latticegraph.pipeline.fit_run import fit
    from latticegraph.pipeline.train_run import finish
    from latticegraph.run_lock import RunLock

    processes = processes or ALONE
    if not processes.is_writer:
        logging.getLogger("latticegraph").setLevel(logging.ERROR)
    with RunLock() as lock:
        outcome = finish(fit(config, options.resume, processes, lock=lock), _typed())
    status = 128 + int(outcome["signal"]) if outcome["reason"] == "interrupted" else 0
    if processes.is_writer:
        _show_outcome(outcome)
    return status


def _typed() -> str:
    """The command as it was typed."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def _show_outcome(outcome: dict[str, Any]) -> None:
    folder = Path(outcome["run_dir"])
    if outcome["reason"] == "interrupted":
        sys.stderr.write(
            f"interrupted after {outcome['updates']} updates; to go on: latticegraph train "
            f"--config {folder / 'config.yaml'} --resume true\n"
        )
        return
    _show_report(outcome["report"])
    sys.stdout.write(f"report: {folder / 'report.md'}\n")


def _dry_run(config: Config) -> int:
    from latticegraph.pipeline.check_run import dry_run

    result = dry_run(config)
    sys.stdout.write("".join(f"{line}\n" for line in result["header"]))
    sys.stdout.write(
        "dry run passed: {cells:,} cells, {edges:,} edges, {parameters:,} parameters, {train:,} + "
        "{validation:,} + {heldout:,} samples, loss {loss:.3f}, forward and backward {seconds:.2f} "
        "s on {device}; nothing was written\n".format(**result)
    )
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from latticegraph.pipeline.evaluate_run import evaluate

    report = evaluate(
        options.folder,
        options.data,
        options.sts,
        options.config,
        options.set,
        options.trust,
        options.codec,
    )
    _write(options.json, report)
    _show_report(report)
    sys.stdout.write(
        "{heldout:,} samples measured, {seen_in_training:,} dropped because the run trained on "
        "them\n".format(**report["data"])
    )
    if "sts" in report:
        sys.stdout.write(
            "STS Spearman: student {student:.3f}, teacher {teacher:.3f}\n".format(**report["sts"])
        )
    if "codec" in report:
        folder = options.codec_dir or Path(options.folder) / "codec"
        _show_codec(report["codec"], Path(folder).expanduser())
    return 0


def _compare(options: argparse.Namespace) -> int:
    from latticegraph.pipeline.compare_runs import compare
    from latticegraph.pipeline.compare_text import comparison_table

    first, second = options.models
    result = compare(first, second, options.seeds, options.set)
    if result["reason"] == "interrupted":
        sys.stderr.write("interrupted; the same command goes on\n")
        return 128 + int(result["signal"])
    _write(options.json, result)
    console().print(comparison_table(result))
    sys.stdout.write(f"comparison: {result['file']}\n")
    return 0


def _show_codec(result: dict[str, Any], folder: Path) -> None:
    from latticegraph.evaluation.codec import codec_table
    from latticegraph.pipeline.codec_run import write_codec

    paths = write_codec(folder, result)
    console().print(codec_table(result))
    sys.stdout.write("".join(f"codec: {path}\n" for path in paths))


def _describe(options: argparse.Namespace) -> int:
    config = load_config(options.config, options.set)
    from latticegraph.pipeline.describe_run import describe
    from latticegraph.pipeline.describe_text import description_table

    result = describe(config)
    _write(options.json, result)
    screen = console()
    screen.print(description_table(config.lattice, result))
    for warning in result["warnings"]:
        screen.print(f"warning: {warning}", highlight=False, soft_wrap=True, markup=False)
    return 0


def _write(path: str | None, result: dict[str, Any]) -> None:
    if path is None:
        return
    from latticegraph.files import write_json

    write_json(Path(path).expanduser(), result, "--json")


def _show_report(report: dict[str, Any]) -> None:
    from latticegraph.evaluation import console_table

    console().print(console_table(report))


def _fail(message: str) -> int:
    line = " ".join(message.split())
    sys.stderr.write(f"error: {line}\n")
    return USER_ERROR
