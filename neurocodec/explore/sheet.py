"""Pictures of pictures: strips, labelled contact sheets, and animations."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from neurocodec.encoding import Pixels
from neurocodec.errors import ImageError
from neurocodec.explore.walk import MOVES, Row

GAP = 4  # pixels between pictures
MARGIN = 110  # pixels, for the labels of rows
HEADER = 44  # pixels, for the labels of columns
CELL = 40, 64  # pixels: width and height that a picture's place has at least
INK, PAPER = (30, 30, 30), (255, 255, 255)
FRAME_MS, END_MS = 120, 700  # milliseconds that a frame is shown, and that an end is
SIDE_LIMIT = 65_000  # pixels of a strip: what encoders of pictures take


def strip(pictures: Sequence[Pixels]) -> Pixels:
    """Pictures of one size side by side."""
    height, width = pictures[0].shape[:2]
    total = strip_width(width, len(pictures))
    out = np.full((height, total, 3), PAPER, np.uint8)
    for i, pixels in enumerate(pictures):
        out[:, i * (width + GAP) :][:, :width] = pixels
    return out


def strip_width(width: int, steps: int) -> int:
    """That of a strip of so many pictures of a width. Raises ImageError for one wider than files of pictures are."""
    total = steps * (width + GAP) - GAP
    if total > SIDE_LIMIT:
        raise ImageError(f"a strip of {total} pixels is too wide: use fewer --steps, or name a .gif for an animation.")
    return total


def animation(pictures: Sequence[Pixels], form: str) -> bytes:
    """Pictures of one size, there and back again without end, as a file of one of Pillow's formats."""
    there = [Image.fromarray(p) for p in pictures]
    frames = [*there, *there[-2:0:-1]]
    ends = (0, len(there) - 1)
    times = [END_MS if i in ends else FRAME_MS for i in range(len(frames))]
    out = io.BytesIO()
    options: dict[str, object] = {"lossless": True} if form == "WEBP" else {}
    try:
        frames[0].save(out, form, save_all=True, append_images=frames[1:], duration=times, loop=0, **options)
    except (OSError, ValueError, OverflowError) as error:
        height, width = pictures[0].shape[:2]
        raise ImageError(f"frames of {width}x{height} pixels do not fit into {form}: {error}") from error
    return out.getvalue()


def sheet_size(width: int, height: int, rows: int) -> tuple[int, int]:
    """Width and height of a contact sheet with so many rows of pictures of a size."""
    cell = max(width, CELL[0]), max(height, CELL[1])
    return MARGIN + len(MOVES) * (cell[0] + GAP), HEADER + rows * (cell[1] + GAP)


def contact_sheet(rows: Sequence[Row]) -> Pixels:
    """A row for each channel that was moved, a column for each move, and what they are."""
    height, width = rows[0].pictures[0].shape[:2]
    cell = max(width, CELL[0])
    sheet = Image.new("RGB", sheet_size(width, height, len(rows)), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    draw.text((6, 4), "channels of y that take the most bits, moved by standard deviations", INK, font)
    for i, move in enumerate(MOVES):
        label = f"{move:+d}" if move else "as it is"
        draw.text((MARGIN + i * (cell + GAP) + width / 2, HEADER - 8), label, INK, font, anchor="ms")
    for j, row in enumerate(rows):
        top = HEADER + j * (max(height, CELL[1]) + GAP)
        label = f"channel {row.channel}\n{100 * row.share:.1f} % of bits\ns.d. {row.deviation:.1f} steps"
        draw.multiline_text((6, top + 2), label, INK, font)
        for i, pixels in enumerate(row.pictures):
            sheet.paste(Image.fromarray(pixels), (MARGIN + i * (cell + GAP), top))
    return np.asarray(sheet)
