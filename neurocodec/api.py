"""The library: compress(picture) -> bytes, decompress(bytes) -> picture, info(bytes) -> fields.

Errors are those of ``neurocodec.errors``; nothing here prints, and nothing touches a file.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from neurocodec import alpha, container, weights
from neurocodec.container import QUALITY_STEPS, Container
from neurocodec.errors import ImageError, NeurocodecError, WeightsError
from neurocodec.images import Picture
from neurocodec.limits import DEFAULT_MAX_PIXELS
from neurocodec.metadata import Metadata
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
    latents: int  # bytes, as are those below
    alpha: int
    icc: int  # once inflated, as EXIF and XMP
    exif: int
    xmp: int
    bytes: int  # of the whole file
    bits_per_pixel: float


def compress(
    picture: Picture | NDArray[np.uint8],
    quality: float = DEFAULT_QUALITY,
    model: str = weights.DEFAULT_MODEL,
    device: str = "auto",
    effort: int = 0,
    progress: Report | None = None,
    alpha_quality: int = 100,
) -> bytes:
    """A picture as the bytes of a .nc file.

    picture: a :class:`Picture`, or an array (H, W, 3), (H, W, 4) with alpha, or (H, W) of uint8. quality: 1 to 100, in
    hundredths. model: the name of a shipped model, or the path of a .safetensors file.
    device: "auto", "cpu" or "cuda". effort: 0 to 9; above 0 the latents are refined for this picture, which
    takes some hundred times as long and saves bytes. progress is called with the share done, 0 to 1.
    alpha_quality: 0 to 100, which is lossless; less keeps fewer levels of transparency.
    Raises ValueError, ImageError, WeightsError.
    """
    if not 0 <= effort < len(EFFORT_STEPS):
        raise ValueError(f"effort {effort} is outside 0 to {len(EFFORT_STEPS) - 1}")
    if not (math.isfinite(quality) and 1 <= quality <= 100):
        raise ValueError(f"quality {quality} is outside 1 to 100")
    if not 0 <= alpha_quality <= 100:
        raise ValueError(f"alpha quality {alpha_quality} is outside 0 to 100")
    if not isinstance(picture, Picture):
        picture = as_picture(picture)
    loaded = weights.load(model, torch_device(device))
    hundredths = round(quality * QUALITY_STEPS)
    pixels = picture.pixels if picture.alpha is None else alpha.fill_hidden(picture.pixels, picture.alpha)
    latents = _latents(loaded, _tensor(pixels), loaded.position(hundredths), effort, progress or silent)
    return container.pack(
        Container(
            model_id=container.PRIVATE_MODEL if loaded.id is None else loaded.id,
            quality=hundredths,
            width=picture.width,
            height=picture.height,
            grey=picture.grey,
            latents=latents,
            alpha=b"" if picture.alpha is None else alpha.pack(picture.alpha, alpha_quality),
            **vars(picture.metadata),
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
    progress: Report | None = None,
) -> Picture:
    """The picture in the bytes of a .nc file.

    model: only for files made with a private model, the path of its .safetensors file.
    Raises FormatError for damaged bytes or more than max_pixels pixels, WeightsError.
    """
    c = container.unpack(data, max_pixels)
    loaded = _model_of(c, model, torch_device(device))
    channel = alpha.unpack(c.alpha, c.height, c.width) if c.alpha else None
    pixels = loaded.codec.decompress(c.latents, c.height, c.width, loaded.position(c.quality), progress or silent)
    array = pixels.cpu().numpy()
    if c.grey:
        array = np.repeat(_luma(array)[:, :, None], 3, axis=2)
    return Picture(array, c.grey, channel, Metadata(c.icc, c.exif, c.xmp))


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
        alpha=len(c.alpha),
        icc=len(c.icc),
        exif=len(c.exif),
        xmp=len(c.xmp),
        bytes=len(data),
        bits_per_pixel=len(data) * 8 / (c.width * c.height),
    )


def as_picture(array: NDArray[np.uint8]) -> Picture:
    """A picture of an array (H, W, 3), (H, W, 4) or (H, W) of uint8. Raises ImageError for any other."""
    wanted = "an array (H, W, 3), (H, W, 4) or (H, W) of uint8 is needed"
    if not isinstance(array, np.ndarray):
        raise ImageError(f"{wanted}, not a {type(array).__name__}.")
    shape: tuple[int, ...] = array.shape
    if array.dtype != np.uint8 or array.size == 0 or not (len(shape) == 2 or (len(shape) == 3 and shape[2] in (3, 4))):
        raise ImageError(f"{wanted}, not {shape} of {array.dtype}.")
    if array.ndim == 2:
        return Picture(np.repeat(array[:, :, None], 3, axis=2), grey=True)
    if shape[-1] == 4:
        return Picture(np.ascontiguousarray(array[:, :, :3]), alpha=np.ascontiguousarray(array[:, :, 3]))
    return Picture(np.ascontiguousarray(array))


def _tensor(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """The pixels without a copy; torch warns of arrays that it must not write to, and we do not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(pixels)


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
