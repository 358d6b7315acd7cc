"""The commands that use a saved model: encode, decode, export, info."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latticegraph.errors import ConfigError

if TYPE_CHECKING:
    from latticegraph.hub import LatticeModel

_TRUST = "class paths (file.py:Class) that the model names and whose code may run"
_ROWS = ".npy, .safetensors or .jsonl"


def add_model_commands(commands: Any) -> None:
    """Add the commands.

    Args:
        commands: subparsers of the program.
    """
    encode = _command(
        commands,
        "encode",
        "encode the lines of a text with a saved model",
        "latticegraph encode --model runs/8cube/model --input sentences.txt --output rows.npy",
    )
    encode.add_argument(
        "--input",
        required=True,
        metavar="FILE",
        help="one text per line; - reads standard input; .npy or .safetensors: teacher embeddings",
    )
    encode.add_argument("--code", action="store_true", help="write codes in place of embeddings")
    decode = _command(
        commands,
        "decode",
        "bring codes back to embeddings, or with a decoder to texts",
        "latticegraph decode --model runs/8cube/model --input codes.npy --output texts.jsonl "
        "--decoder runs/decoder",
    )
    decode.add_argument("--input", required=True, metavar="FILE", help=f"codes: {_ROWS}")
    decode.add_argument(
        "--decoder",
        metavar="FOLDER",
        help="of a bank or a decoder that writes: texts are written to a .jsonl file",
    )
    decode.add_argument(
        "--texts", type=int, default=1, metavar="N", help="texts of each code (default 1)"
    )
    for command in (encode, decode):
        command.add_argument("--output", required=True, metavar="FILE", help=_ROWS)
        command.add_argument(
            "--batch-size",
            type=int,
            default=256,
            metavar="N",
            help="samples per pass (default 256)",
        )
    export = _command(
        commands,
        "export",
        "write a saved model as one file for other programs",
        "latticegraph export runs/8cube/model --output 8cube.onnx",
    )
    export.add_argument(
        "--output",
        required=True,
        metavar="FILE",
        help=".onnx, or .pt2 for torch.export.load: embeddings of the teacher to predictions and "
        "codes",
    )
    _command(commands, "info", "say what a saved model is", "latticegraph info DIR")


def _command(
    commands: Any,
    name: str,
    text: str,
    example: str,
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser
    command = commands.add_parser(name, help=text, description=text, epilog=f"Example: {example}")
    if name in ("export", "info"):
        command.add_argument("model", metavar="DIR", help="folder of a saved model")
    else:
        command.add_argument(
            "--model", required=True, metavar="DIR", help="folder of a saved model (RUN/model)"
        )
    command.add_argument("--trust", nargs="+", default=[], metavar="CLASS", help=_TRUST)
    return command


def _load(options: argparse.Namespace) -> LatticeModel:
    from latticegraph.hub import LatticeModel

    return LatticeModel.from_pretrained(options.model, options.trust)


def _encode(options: argparse.Namespace) -> int:
    from latticegraph.pipeline.encode_run import encode_file

    output = Path(options.output).expanduser()
    rows = encode_file(
        _load(options),
        options.input,
        output,
        codes=options.code,
        batch_size=options.batch_size,
    )
    sys.stdout.write(f"{rows:,} rows: {output}\n")
    return 0


def _decode(options: argparse.Namespace) -> int:
    from latticegraph.pipeline.encode_run import decode_file

    output = Path(options.output).expanduser()
    source = Path(options.input).expanduser()
    if options.decoder is None and options.texts != 1:
        raise ConfigError(
            "--texts", "expected a --decoder that finds them, got none", "Add --decoder FOLDER"
        )
    decoder = None if options.decoder is None else Path(options.decoder).expanduser()
    rows = decode_file(_load(options), source, output, options.batch_size, decoder, options.texts)
    sys.stdout.write(f"{rows:,} rows: {output}\n")
    return 0


def _export(options: argparse.Namespace) -> int:
    output = Path(options.output).expanduser()
    _load(options).export(output, "torch" if output.suffix == ".pt2" else "onnx")
    sys.stdout.write(f"{output.stat().st_size:,} bytes: {output}\n")
    return 0


def _info(options: argparse.Namespace) -> int:
    model = _load(options)
    config, identity = model.config, model.config.identity
    lines = {
        "lattice": " x ".join(str(side) for side in config.lattice.dimensions),
        "steps": str(config.model.dynamics.steps),
        "experts": ", ".join(model.student.dynamics.names),
        "parameters": f"{model.parameters:,}",
        "code": f"{model.student.surface_width} numbers",
        "embedding": f"{model.student.teacher_dimension} numbers",
        "teacher": "unknown" if identity is None else f"{identity.name} ({identity.kind})",
        "sha256": model.digest(),
    }
    sys.stdout.write("".join(f"{name}: {value}\n" for name, value in lines.items()))
    return 0


COMMANDS: dict[str, Callable[..., int]] = {
    "encode": _encode,
    "decode": _decode,
    "export": _export,
    "info": _info,
}
