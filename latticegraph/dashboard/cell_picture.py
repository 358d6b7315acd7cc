"""The dominant expert of every cell as small pictures, one per layer of the cube."""

from __future__ import annotations

import base64
import string
import struct
import zlib
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from latticegraph.dashboard.chart import COLOURS

# The palette of the page (Okabe and Ito, 2008, told apart by colour-blind people), for pictures.
RGB = (
    (0, 114, 178),
    (230, 159, 0),
    (204, 121, 167),
    (0, 158, 115),
    (86, 180, 233),
    (213, 94, 0),
    (240, 228, 66),
    (120, 120, 120),
)
PALE = (236, 236, 234)
LEVELS = 10
SYMBOLS = string.digits + string.ascii_letters  # of experts, as in the log


def png(width: int, height: int, palette: Sequence[tuple[int, int, int]], rows: bytes) -> bytes:
    """A picture with at most 256 colours (PNG, ISO/IEC 15948).

    Args:
        width: in pixels.
        height: in pixels.
        palette: red, green and blue of each colour.
        rows: a colour per pixel, row by row from the top.
    """

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    lines = b"".join(b"\0" + rows[i * width : (i + 1) * width] for i in range(height))
    colours = b"".join(bytes(colour) for colour in palette)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", head),
            chunk(b"PLTE", colours),
            chunk(b"IDAT", zlib.compress(lines, 9)),
            chunk(b"IEND", b""),
        )
    )


def layer_pictures(cells: Mapping[str, Any], names: Sequence[str]) -> str:
    """One picture per layer, the front first; paler where no expert stands out.

    Args:
        cells: of a record of the cube: ``layers``, ``rows``, ``columns``, ``experts``, ``shares``.
        names: of the experts, in the order of their symbols.
    """
    palette = [_shade(colour, level) for colour in RGB for level in range(LEVELS)]
    width, height = len(cells["columns"]), len(cells["rows"])
    parts = []
    for layer, experts, shares in zip(
        cells["layers"], cells["experts"], cells["shares"], strict=True
    ):
        pixels = bytes(
            LEVELS * (SYMBOLS.index(expert) % COLOURS) + int(share)
            for expert, share in zip(experts, shares, strict=True)
        )
        picture = base64.b64encode(png(width, height, palette, pixels)).decode("ascii")
        counts = ", ".join(
            f"{name} {experts.count(SYMBOLS[place]) / len(experts):.0%}"
            for place, name in enumerate(names)
        )
        parts.append(
            f'<div><img alt="layer {layer}: {escape(counts)}" title="{escape(counts)}" '
            f'style="aspect-ratio:{width}/{height}" src="data:image/png;base64,{picture}">'
            f"<span>layer {layer}</span></div>"
        )
    return f'<div class="layers">{"".join(parts)}</div>'


def _shade(colour: tuple[int, int, int], level: int) -> tuple[int, int, int]:
    share = (level + 2) / (LEVELS + 1)
    red, green, blue = (
        round(pale + share * (own - pale)) for own, pale in zip(colour, PALE, strict=True)
    )
    return red, green, blue
