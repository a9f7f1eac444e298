"""The library: compress(picture) -> bytes, decompress(bytes) -> picture, info(bytes) -> fields.

Errors are those of ``neurocodec.errors``; nothing here prints, and nothing touches a file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from neurocodec import container, weights
from neurocodec.container import DEFAULT_MAX_PIXELS, QUALITY_STEPS, Container
from neurocodec.errors import ImageError, NeurocodecError, WeightsError
from neurocodec.images import Picture
from neurocodec.refine import EFFORT_STEPS, Refiner
from neurocodec.windows import Report, silent

DEFAULT_QUALITY = 75.0


@dataclass(frozen=True)
class Info:
    """What a file says of itself, without decoding it."""

    version: int
    model_id: int
    model: str
    quality: float
    width: int
    height: int
    grey: bool
    latents: int  # bytes
    bytes: int  # of the whole file
    bits_per_pixel: float


def compress(
    picture: Picture | NDArray[np.uint8],
    quality: float = DEFAULT_QUALITY,
    model: str = weights.DEFAULT_MODEL,
    device: str = "auto",
    effort: int = 0,
    progress: Report | None = None,
) -> bytes:
    """A picture as the bytes of a .nc file.

    picture: a :class:`Picture`, or an array (H, W, 3) or (H, W) of uint8. quality: 1 to 100, in
    hundredths. model: the name of a shipped model, or the path of a .safetensors file.
    device: "auto", "cpu" or "cuda". effort: 0 to 9; above 0 the latents are refined for this picture, which
    takes some hundred times as long and saves bytes; progress is then called with the share done, 0 to 1.
    Raises ValueError, ImageError, WeightsError.
    """
    if not 0 <= effort < len(EFFORT_STEPS):
        raise ValueError(f"effort {effort} is outside 0 to {len(EFFORT_STEPS) - 1}")
    if not (math.isfinite(quality) and 1 <= quality <= 100):
        raise ValueError(f"quality {quality} is outside 1 to 100")
    if not isinstance(picture, Picture):
        picture = as_picture(picture)
    loaded = weights.load(model, torch_device(device))
    hundredths = round(quality * QUALITY_STEPS)
    latents = _latents(
        loaded, torch.from_numpy(picture.pixels), loaded.position(hundredths), effort, progress or silent
    )
    return container.pack(
        Container(
            model_id=container.PRIVATE_MODEL if loaded.id is None else loaded.id,
            quality=hundredths,
            width=picture.width,
            height=picture.height,
            grey=picture.grey,
            latents=latents,
            fingerprint=loaded.fingerprint if loaded.id is None else b"",
        )
    )


def _latents(loaded: weights.LoadedModel, pixels: torch.Tensor, position: int, effort: int, progress: Report) -> bytes:
    if not effort:
        return loaded.codec.compress(pixels, position, progress)
    if loaded.objective is None:
        raise WeightsError("the model does not say what it was trained for, as --effort needs: export it again.")
    refiner = Refiner(loaded.codec, loaded.objective)
    best = refiner.refine(pixels, position, EFFORT_STEPS[effort], progress)
    return loaded.codec.encode_latents(best.y, best.z, position)


def decompress(
    data: bytes,
    model: str | None = None,
    device: str = "auto",
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> Picture:
    """The picture in the bytes of a .nc file.

    model: only for files made with a private model, the path of its .safetensors file.
    Raises FormatError for damaged bytes or more than max_pixels pixels, WeightsError.
    """
    c = container.unpack(data, max_pixels)
    loaded = _model_of(c, model, torch_device(device))
    pixels = loaded.codec.decompress(c.latents, c.height, c.width, loaded.position(c.quality))
    array = pixels.cpu().numpy()
    if c.grey:
        array = np.repeat(_luma(array)[:, :, None], 3, axis=2)
    return Picture(array, c.grey)


def info(data: bytes) -> Info:
    """The fields of a .nc file, after all its checks. Needs no model."""
    c = container.unpack(data, max_pixels=container.SIDE_LIMIT**2)
    names = {m.id: m.name for m in weights.MODELS}
    private = f"private, SHA-256 {c.fingerprint.hex()}..."
    return Info(
        version=container.VERSION,
        model_id=c.model_id,
        model=private if c.model_id == container.PRIVATE_MODEL else names.get(c.model_id, "unknown"),
        quality=c.quality / QUALITY_STEPS,
        width=c.width,
        height=c.height,
        grey=c.grey,
        latents=len(c.latents),
        bytes=len(data),
        bits_per_pixel=len(data) * 8 / (c.width * c.height),
    )


def as_picture(array: NDArray[np.uint8]) -> Picture:
    """A picture of an array (H, W, 3) or (H, W) of uint8. Raises ImageError for any other."""
    if not isinstance(array, np.ndarray):
        raise ImageError(f"an array (H, W, 3) or (H, W) of uint8 is needed, not a {type(array).__name__}.")
    if array.dtype != np.uint8 or array.size == 0 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
        raise ImageError(f"an array (H, W, 3) or (H, W) of uint8 is needed, not {array.shape} of {array.dtype}.")
    if array.ndim == 2:
        return Picture(np.repeat(array[:, :, None], 3, axis=2), grey=True)
    return Picture(np.array(array, order="C"))


def torch_device(device: str) -> torch.device:
    """ "auto" is cuda where there is one. Raises NeurocodecError for a cuda that is not there."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise NeurocodecError("there is no CUDA device here: use --device cpu or auto.")
    return torch.device(device)


def _model_of(c: Container, model: str | None, device: torch.device) -> weights.LoadedModel:
    if c.model_id != container.PRIVATE_MODEL:
        if model is not None:
            raise WeightsError("the file was made with a shipped model, and brings its id: leave --model out.")
        return weights.load(weights.find_id(c.model_id).name, device)
    wanted = c.fingerprint.hex()
    if model is None:
        raise WeightsError(f"the file was made with a private model (SHA-256 {wanted}...): name its file with --model.")
    loaded = weights.load(model, device)
    if loaded.fingerprint != c.fingerprint:
        raise WeightsError(f"{model} is not the model this file was made with (SHA-256 {wanted}...).")
    return loaded


def _luma(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mean of three channels that should be equal, rounded."""
    mean: NDArray[np.uint8] = ((rgb.astype(np.uint16).sum(axis=2) + 1) // 3).astype(np.uint8)
    return mean
