"""The commands around decoders: train-decoder, evaluate-decoder, bank."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from latticegraph.config import dump_config, load_decoder_config
from latticegraph.early import STDOUT, check_output
from latticegraph.errors import ConfigError
from latticegraph.files import write_json
from latticegraph.terminal import console


def add_decoder_commands(commands: Any) -> None:
    """Add the commands.

    Args:
        commands: subparsers of the program.
    """
    _add_train(commands)
    _add_evaluate_and_bank(commands)


def _add_train(commands: Any) -> None:
    train = _command(
        commands,
        "train-decoder",
        "train a decoder that writes text from embeddings",
        "latticegraph train-decoder --config configs/decoder.yaml --set run.folder=runs/mine",
    )
    train.add_argument("--config", required=True, metavar="FILE", help="YAML file")
    train.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="settings that win over the file, for instance training.epochs=2",
    )
    train.add_argument("--print-config", action="store_true", help="print all settings and stop")


def _add_evaluate_and_bank(commands: Any) -> None:
    evaluate = _command(
        commands,
        "evaluate-decoder",
        "measure a decoder that writes on the text held out from it",
        "latticegraph evaluate-decoder runs/decoder --model runs/8cube/model --json result.json",
    )
    evaluate.add_argument("folder", metavar="DIR", help="folder of the decoder")
    evaluate.add_argument(
        "--samples",
        type=int,
        default=0,
        metavar="N",
        help="texts from all over the held-out text (default: all)",
    )
    evaluate.add_argument("--json", metavar="OUT", help="also write the result as JSON")
    bank = _command(
        commands,
        "bank",
        "embed the sentences of a text for latticegraph decode and serve",
        "latticegraph bank --model runs/8cube/model --input sentences.txt --output bank",
    )
    bank.add_argument(
        "--input",
        required=True,
        metavar="FILE",
        help="one sentence per line; - is standard input",
    )
    bank.add_argument("--output", required=True, metavar="DIR", help="new folder of the bank")
    for command in (evaluate, bank):
        command.add_argument(
            "--model",
            required=command is bank,
            metavar="DIR",
            help="folder of a saved model: its teacher embeds"
            if command is bank
            else "folder of a saved model whose reconstructions are decoded too",
        )
        command.add_argument(
            "--trust",
            nargs="+",
            default=[],
            metavar="CLASS",
            help="class paths (file.py:Class) that the model names and whose code may run",
        )


def _command(commands: Any, name: str, text: str, example: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser
    command = commands.add_parser(name, help=text, description=text, epilog=f"Example: {example}")
    return command


def _train_decoder(options: argparse.Namespace) -> int:
    config = load_decoder_config(options.config, options.set)
    if options.print_config:
        sys.stdout.write(dump_config(config))
        return 0
    from latticegraph.pipeline.decoder_run import train_decoder

    folder = Path(config.run.folder).expanduser()
    try:
        result = train_decoder(config)
    except KeyboardInterrupt:
        whole = (folder / "decoder.safetensors").is_file()
        kept = f"the best decoder so far is in {folder}" if whole else "nothing was saved"
        sys.stderr.write(f"interrupted; {kept}\n")
        return 130
    sys.stdout.write(
        "best epoch {epoch}, validation loss {validation_loss:.3f}, {seconds:,.0f} s, "
        "{parameters:,} parameters: {folder}\n".format(**result)
    )
    return 0


def _evaluate_decoder(options: argparse.Namespace) -> int:
    if options.samples < 0:
        raise ConfigError("--samples", f"expected at least 0, got {options.samples}", "Correct it")
    check_output(options.json, "--json")
    from latticegraph.hub import LatticeModel
    from latticegraph.pipeline.decoder_report import decoder_table, report_decoder

    model = None
    if options.model is not None:
        model = LatticeModel.from_pretrained(options.model, options.trust)
    result = report_decoder(Path(options.folder).expanduser(), options.samples, model)
    aside = options.json == STDOUT
    if aside:
        sys.stdout.write(json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    elif options.json is not None:
        write_json(Path(options.json).expanduser(), result, "--json")
    console(aside=aside).print(decoder_table(result))
    return 0


def _bank(options: argparse.Namespace) -> int:
    from latticegraph.hub import LatticeModel
    from latticegraph.pipeline.bank_run import build_bank

    model = LatticeModel.from_pretrained(options.model, options.trust)
    folder = Path(options.output).expanduser()
    count = build_bank(model, options.input, folder)
    sys.stdout.write(f"{count:,} sentences: {folder}\n")
    return 0


COMMANDS: dict[str, Callable[..., int]] = {
    "train-decoder": _train_decoder,
    "evaluate-decoder": _evaluate_decoder,
    "bank": _bank,
}
