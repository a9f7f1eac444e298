"""How much is too much: asked before anything is allocated, in both directions."""

from __future__ import annotations

GRID = 64  # pixels: pictures are coded as whole squares of this side
DEFAULT_MAX_PIXELS = 256_000_000
SECTION_LIMIT = 1 << 24  # bytes of ICC, EXIF or XMP, as a picture has them
GRID_ALLOWANCE = 1 << 20  # pixels that the grid may add to any picture, besides as many as the limit


def excess(width: int, height: int, max_pixels: int) -> str | None:
    """Why a picture is too large, in a sentence; None if it is not."""
    if width * height > max_pixels:
        return f"{width}x{height} pixels are more than the limit of {max_pixels} (--max-pixels raises it)."
    coded_width, coded_height = width + -width % GRID, height + -height % GRID
    if coded_width * coded_height > 2 * max_pixels + GRID_ALLOWANCE:
        return (
            f"{width}x{height} pixels are so narrow that they are coded as {coded_width}x{coded_height}, "
            f"far more than the limit of {max_pixels} (--max-pixels raises it)."
        )
    return None
