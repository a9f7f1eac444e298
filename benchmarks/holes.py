"""Masks for inpainting, drawn from a seed: True is hidden."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Mask = NDArray[np.bool_]  # (H, W)

SHARES = (10, 30, 50)  # percent of pixels, hidden at random
KINDS = (*(f"random {share} %" for share in SHARES), "scratches", "text", "large holes")
WORDS = ("the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "and", "nobody", "sees", "what", "hides")


def draw(kind: str, height: int, width: int, seed: int) -> Mask:
    """One of KINDS. Raises ValueError for others."""
    rng = np.random.default_rng((seed, KINDS.index(kind)))
    if kind.startswith("random"):
        return rng.random((height, width)) < int(kind.split()[1]) / 100
    image = Image.new("L", (width, height), 0)
    {"scratches": _scratches, "text": _text, "large holes": _large}[kind](image, rng)
    return np.asarray(image) >= 128


def _scratches(image: Image.Image, rng: np.random.Generator) -> None:
    """Wandering lines, 1 to 4 pixels wide, across the picture."""
    draw, (width, height) = ImageDraw.Draw(image), image.size
    for _ in range(14):
        at, angle = rng.random(2) * (width, height), rng.random() * 2 * np.pi
        points = [tuple(at)]
        for _ in range(12):
            angle += rng.normal() * 0.25
            at = at + np.array([np.cos(angle), np.sin(angle)]) * max(width, height) / 16
            points.append(tuple(at))
        draw.line([(float(x), float(y)) for x, y in points], fill=255, width=int(rng.integers(1, 5)))


def _text(image: Image.Image, rng: np.random.Generator) -> None:
    """Lines of words over all of the picture."""
    draw, (width, height) = ImageDraw.Draw(image), image.size
    font = ImageFont.load_default(18)
    for top in range(4, height, 26):
        words = " ".join(rng.choice(WORDS, max(width // 30, 1)))
        draw.text((int(rng.integers(-20, 4)), top), words, fill=255, font=font)


def _large(image: Image.Image, rng: np.random.Generator) -> None:
    """Five ellipses, each an eighth to a quarter of the shorter side in radius."""
    draw, (width, height) = ImageDraw.Draw(image), image.size
    for _ in range(5):
        rx, ry = rng.uniform(1 / 16, 1 / 8, 2) * min(width, height)
        x, y = rng.random() * width, rng.random() * height
        draw.ellipse((x - rx, y - ry, x + rx, y + ry), fill=255)
