"""What the commands of ``latticegraph`` do with their options; see arguments.py."""

from __future__ import annotations

import argparse
import errno
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latticegraph import decoder_commands, model_commands
from latticegraph.analyse_command import run_analyse
from latticegraph.arguments import parser
from latticegraph.config import Config, dump_config, load_config
from latticegraph.dashboard_command import run_dashboard
from latticegraph.early import STDOUT, check_evaluation, check_output, check_paths
from latticegraph.errors import LatticeGraphError
from latticegraph.progress import duration
from latticegraph.serve_command import run_serve
from latticegraph.startup import tune_process
from latticegraph.terminal import command, console, show_log, speak_utf8

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
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = parser().parse_args(words)
    options.typed = words
    show_log()
    try:
        if os.environ.get("WORLD_SIZE", "1") != "1":
            return _run_together(options)
        return COMMANDS[options.name](options)
    except LatticeGraphError as error:
        return _fail(str(error))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return _fail(f"{error.filename or 'disk'}: {error.strerror}. Free disk space and go on.")
    except KeyboardInterrupt as stop:
        sys.stderr.write(f"interrupted; to go on: {stop if stop.args else _again(options)}\n")
        return INTERRUPTED


def _again(options: argparse.Namespace) -> str:
    """The command that goes on with what was interrupted before there was a run folder."""
    words = [options.name, *_typed_words(options)]
    if options.name == "train" and options.resume == "false":
        words += ["--resume", "auto"]
    return command(*words)


def _typed_words(options: argparse.Namespace) -> list[str]:
    """What was typed after the name of the command."""
    words: list[str] = options.typed
    return words[1:] if words[:1] == [options.name] else words


def _run_together(options: argparse.Namespace) -> int:
    """Train in all processes that torchrun started; one of them runs every other command."""
    run = COMMANDS[options.name]
    # Takes a second to import, which a single process may not need at all.
    from latticegraph.distributed import AnotherFailed, joined

    try:
        with joined() as processes:
            if run is _train and not (options.print_config or options.dry_run):
                return _train(options, processes)
            return run(options) if processes.is_writer else 0
    except AnotherFailed:
        return USER_ERROR


def _train(options: argparse.Namespace, processes: Processes | None = None) -> int:
    overrides = list(options.set)
    if options.experiment_name is not None:
        # Quoted, so that YAML does not read a name such as 8 as a number.
        overrides.append(f"run.name={json.dumps(options.experiment_name)}")
    config = load_config(options.config, overrides)
    if options.print_config:
        sys.stdout.write(dump_config(config))
        return 0
    check_paths(config)
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
        run = fit(config, options.resume, processes, lock=lock)
        try:
            outcome = finish(run, command("train", *_typed_words(options)))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_resume(run.folder)) from None
    status = 128 + int(outcome["signal"]) if outcome["reason"] == "interrupted" else 0
    if processes.is_writer:
        _show_outcome(outcome)
    return status


def _resume(folder: Path) -> str:
    return command("train", "--config", str(folder / "config.yaml"), "--resume", "true")


def _show_outcome(outcome: dict[str, Any]) -> None:
    folder = Path(outcome["run_dir"])
    if outcome["reason"] == "interrupted":
        sys.stderr.write(
            f"interrupted after {outcome['updates']} updates; to go on: {_resume(folder)}\n"
        )
        return
    _show_report(outcome["report"])
    sys.stdout.write(f"report: {folder / 'report.md'}\n")


def _dry_run(config: Config) -> int:
    from latticegraph.pipeline.check_run import dry_run

    result = dry_run(config)
    sys.stdout.write("".join(f"{line}\n" for line in result["header"]))
    if result["teacher_seconds"] is not None:
        sys.stdout.write(
            f"teacher: about {duration(result['teacher_seconds'])} to embed {result['texts']:,} "
            "texts, less for those that the cache holds\n"
        )
    sys.stdout.write(
        "dry run passed: {cells:,} cells, {edges:,} edges, {parameters:,} parameters, {train:,} + "
        "{validation:,} + {heldout:,} samples, loss {loss:.3f}, forward and backward {seconds:.2f} "
        "s on {device}; nothing was written\n".format(**result)
    )
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    check_evaluation(options)
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
    aside = _write(options.json, report)
    _show_report(report, aside=aside)
    stream = sys.stderr if aside else sys.stdout
    stream.write(
        "{heldout:,} samples measured, {seen_in_training:,} dropped because the run trained on "
        "them\n".format(**report["data"])
    )
    if "sts" in report:
        stream.write(
            "STS Spearman: student {student:.3f}, teacher {teacher:.3f}\n".format(**report["sts"])
        )
    if "codec" in report:
        folder = options.codec_dir or Path(options.folder) / "codec"
        _show_codec(report["codec"], Path(folder).expanduser(), aside=aside)
    return 0


def _compare(options: argparse.Namespace) -> int:
    from latticegraph.pipeline.compare_runs import compare
    from latticegraph.pipeline.compare_text import comparison_table

    check_output(options.json, "--json")
    first, second = options.models
    result = compare(first, second, options.seeds, options.set)
    if result["reason"] == "interrupted":
        sys.stderr.write(f"interrupted; to go on: {_again(options)}\n")
        return 128 + int(result["signal"])
    aside = _write(options.json, result)
    console(aside=aside).print(comparison_table(result))
    (sys.stderr if aside else sys.stdout).write(f"comparison: {result['file']}\n")
    return 0


def _show_codec(result: dict[str, Any], folder: Path, *, aside: bool) -> None:
    from latticegraph.evaluation.codec import codec_table
    from latticegraph.pipeline.codec_run import write_codec

    paths = write_codec(folder, result)
    console(aside=aside).print(codec_table(result))
    (sys.stderr if aside else sys.stdout).write("".join(f"codec: {path}\n" for path in paths))


def _describe(options: argparse.Namespace) -> int:
    config = load_config(options.config, options.set)
    check_output(options.json, "--json")
    from latticegraph.pipeline.describe_run import describe
    from latticegraph.pipeline.describe_text import description_table

    result = describe(config)
    screen = console(aside=_write(options.json, result))
    screen.print(description_table(config.lattice, result))
    for warning in result["warnings"]:
        screen.print(f"warning: {warning}", highlight=False, soft_wrap=True, markup=False)
    return 0


def _runs(options: argparse.Namespace) -> int:
    from latticegraph.run_list import list_runs, runs_table

    check_output(options.json, "--json")
    runs = list_runs(Path(options.folder).expanduser())
    console(aside=_write(options.json, {"runs": runs})).print(runs_table(runs))
    return 0


def _write(path: str | None, result: dict[str, Any]) -> bool:
    """Write a result as JSON; whether it went to standard output, so that nothing else may."""
    if path == STDOUT:
        text = json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False)
        sys.stdout.write(text + "\n")
        return True
    if path is not None:
        from latticegraph.files import write_json

        write_json(Path(path).expanduser(), result, "--json")
    return False


def _show_report(report: dict[str, Any], *, aside: bool = False) -> None:
    from latticegraph.evaluation import console_table

    console(aside=aside).print(console_table(report))


def _fail(message: str) -> int:
    line = " ".join(message.split())
    sys.stderr.write(f"error: {line}\n")
    return USER_ERROR


COMMANDS: dict[str, Callable[..., int]] = {
    "train": _train,
    "evaluate": _evaluate,
    "describe": _describe,
    "compare": _compare,
    "runs": _runs,
    "analyse": run_analyse,
    "serve": run_serve,
    "dashboard": run_dashboard,
    **model_commands.COMMANDS,
    **decoder_commands.COMMANDS,
}
