"""Names, options and examples of the commands; what they do is in cli.py."""

from __future__ import annotations

import argparse
from importlib.metadata import version
from typing import Any

from latticegraph.analyse_command import add_analyse_command
from latticegraph.dashboard_command import add_dashboard_command
from latticegraph.decoder_commands import add_decoder_commands
from latticegraph.model_commands import add_model_commands
from latticegraph.serve_command import add_serve_command

EXAMPLES = {
    "train": """\
examples:
  latticegraph train --config configs/8cube.yaml
  latticegraph train --config configs/8cube.yaml --set run.name=mine data.train=my.txt
  latticegraph train --config configs/8cube.yaml --set training.phases.1.updates=500 --resume auto

At least data.min_sentences (200) sentences are needed; of each, the teacher reads the first
teacher.max_length (128) tokens.""",
    "evaluate": """\
examples:
  latticegraph evaluate --run runs/8cube
  latticegraph evaluate --run runs/8cube --data new.txt more.csv.gz --json result.json
  printf 'A sentence.\\nAnother one.\\n' | latticegraph evaluate --run runs/8cube --data -""",
    "describe": """\
examples:
  latticegraph describe --config configs/8cube.yaml
  latticegraph describe --config configs/8cube.yaml --set lattice.dimensions=99,99,99 --json -""",
    "compare": """\
examples:
  latticegraph compare configs/8cube.yaml configs/8cube_autoencoder.yaml --seeds 5
  latticegraph compare runs/8cube runs/other --set training.phases.0.updates=50""",
    "runs": """\
examples:
  latticegraph runs
  latticegraph runs elsewhere --json -""",
}


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; ``name`` of its result is the command."""
    made = argparse.ArgumentParser(
        prog="latticegraph",
        description="Train a cube of cells to carry the meaning of text.",
        epilog="Every command has its own --help, with examples.",
    )
    number = version("latticegraph")
    made.add_argument("--version", action="version", version=f"latticegraph {number}")
    commands = made.add_subparsers(required=True, metavar="command", dest="name")
    _train(_command(commands, "train", "train a cube and report on held-out text"))
    evaluate = _command(commands, "evaluate", "measure a run on text it never saw")
    _evaluate(evaluate)
    describe = _command(commands, "describe", "describe a lattice without building it")
    compare = _command(commands, "compare", "compare two configurations over seeds")
    compare.add_argument(
        "models", nargs=2, metavar="MODEL", help="YAML file, or the folder of a finished run"
    )
    compare.add_argument(
        "--seeds", type=int, default=5, metavar="N", help="train seeds 0 to N - 1 (default 5)"
    )
    runs = _command(commands, "runs", "list the runs of a folder and their scores")
    runs.add_argument(
        "folder", nargs="?", default="runs", metavar="DIR", help="run.output_dir (default runs)"
    )
    for command in (evaluate, describe, compare, runs):
        command.add_argument(
            "--json", metavar="OUT", help="also write the result as JSON; - is standard output"
        )
    add_analyse_command(commands)
    add_model_commands(commands)
    add_decoder_commands(commands)
    add_serve_command(commands)
    add_dashboard_command(commands)
    return made


def _command(commands: Any, name: str, text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser
    command = commands.add_parser(
        name,
        help=text,
        description=text,
        epilog=EXAMPLES[name],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if name == "runs":
        return command
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


def _train(train: argparse.ArgumentParser) -> None:
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


def _evaluate(evaluate: argparse.ArgumentParser) -> None:
    evaluate.add_argument("--run", dest="folder", required=True, help="folder of a finished run")
    evaluate.add_argument(
        "--data",
        nargs="+",
        default=[],
        metavar="FILE",
        help=".txt, .jsonl, .csv or .tsv files (also .gz), folders of them, or - for lines of "
        "standard input; without: the run's own held-out text",
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
