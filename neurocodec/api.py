"""The library: compress(picture) -> bytes, decompress(bytes) -> picture, info(bytes) -> fields.

Errors are those of ``neurocodec.errors``; nothing here prints, and nothing writes a file.
"""

from __future__ import annotations

import math
import numbers
import os
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from neurocodec import catalogue, container, weights
from neurocodec.container import QUALITY_STEPS, Container
from neurocodec.encoding import Encoding, decode
from neurocodec.errors import DeviceError, ImageError, WeightsError
from neurocodec.fields import Source, bytes_of
from neurocodec.images import Picture, from_pillow, read
from neurocodec.limits import DEFAULT_MAX_PIXELS
from neurocodec.refine import EFFORT_STEPS
from neurocodec.targets import Target, search
from neurocodec.windows import Report, part_of, silent

DEFAULT_QUALITY = 75.0
SCALES = (1, 2, 4, 8)
REFINED_TRIALS = 4  # of files for a target
SEARCHED, SEARCHED_REFINED = 0.9, 0.1  # of the time for a target: what the search takes
LEFT_TO_SEARCH = 0.8  # after each trial, of what was left: how many there will be nobody knows

Name = str | os.PathLike[str]  # of a model
Pictures = Picture | NDArray[np.uint8] | Image.Image | Source


@dataclass(frozen=True)
class Fitted:
    """A file made for a target."""

    data: bytes
    quality: float
    value: float  # what the target asks for, as measured
    met: bool  # or only the nearest there is


def compress(
    picture: Pictures,
    quality: float = DEFAULT_QUALITY,
    model: Name = catalogue.DEFAULT_MODEL,
    device: str = "auto",
    effort: int = 0,
    progress: Report | None = None,
    alpha_quality: int = 100,
    verify: bool = False,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> bytes:
    """A picture as the bytes of a .nc file.

    picture: a :class:`Picture`, an array (H, W, 3), (H, W, 4) with alpha, or (H, W) of uint8, a Pillow image, or an
    image file (its bytes, path or open file). quality: 1 to 100, in hundredths. model: the name of a shipped
    model, or the path of a .safetensors file.
    device: "auto", "cpu" or "cuda". effort: 0 to 9; above 0 the latents are refined for this picture, which
    takes 10 (effort 1) to 3,000 times as long and saves bytes. progress is called with the share done, 0 to 1.
    alpha_quality: 0 to 100, which is lossless; less keeps fewer levels of transparency. verify: decode the
    bytes and compare the latents. max_pixels: of an image file; what is in memory may be larger, and then
    :func:`decompress` has to be told. Raises ValueError, ImageError, WeightsError, VerificationError.
    """
    if not (isinstance(quality, numbers.Real) and math.isfinite(quality) and 1 <= quality <= 100):
        raise ValueError(f"quality {quality!r} is not a number from 1 to 100")
    encoding = _encoding(picture, model, device, effort, alpha_quality, max_pixels)
    return encoding.encode(round(float(quality) * QUALITY_STEPS), effort, progress or silent, verify)


def compress_to(
    picture: Pictures,
    target: Target,
    model: Name = catalogue.DEFAULT_MODEL,
    device: str = "auto",
    effort: int = 0,
    progress: Report | None = None,
    alpha_quality: int = 100,
    verify: bool = False,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> Fitted:
    """A picture at the best quality that meets a target, or at the nearest there is.

    Arguments and errors are those of :func:`compress`. Qualities are tried at effort 0, and from the best of them up
    to :data:`REFINED_TRIALS` at the effort that is asked for.
    """
    if not isinstance(target, Target):
        raise ValueError(f"{target!r} is no Target")
    encoding = _encoding(picture, model, device, effort, alpha_quality, max_pixels)
    values: dict[int, float] = {}
    share = SEARCHED_REFINED if effort else SEARCHED
    searching, rest = part_of(progress or silent, 0, share), part_of(progress or silent, share, 1)

    def measure(quality: int) -> float:
        values[quality] = encoding.measure(quality, target.kind)
        searching(1 - LEFT_TO_SEARCH ** len(values))
        return values[quality]

    hundredths, met = search(measure, target)
    refined = _refined(encoding, target, hundredths, values, effort, rest, verify) if effort else None
    if refined and refined.met and (not met or target.how.at_most):
        return refined
    if refined and not (met or refined.met) and target.distance(refined.value) <= target.distance(values[hundredths]):
        return refined
    plain = encoding.encode(hundredths, 0, silent if refined else rest, verify)
    rest(1)
    if refined and refined.met and len(refined.data) <= len(plain):
        return refined
    return Fitted(plain, hundredths / QUALITY_STEPS, values[hundredths], met)


def _refined(
    encoding: Encoding,
    target: Target,
    start: int,
    plain: dict[int, float],
    effort: int,
    progress: Report,
    verify: bool,
) -> Fitted:
    """The best of a few refined files, the first of quality start; plain: values of qualities at effort 0."""
    files: dict[int, bytes] = {}
    values: dict[int, float] = {}

    def measure(quality: int) -> float:
        share = part_of(progress, len(files) / REFINED_TRIALS, (len(files) + 1) / REFINED_TRIALS)
        files[quality] = encoding.encode(quality, effort, share, verify)
        values[quality] = encoding.value_of(files[quality], target.kind)
        return values[quality]

    quality, met = search(measure, target, start, target.slope_at(start, plain), REFINED_TRIALS)
    progress(1)
    return Fitted(files[quality], quality / QUALITY_STEPS, values[quality], met)


def refines(width: int, height: int, model: Name = catalogue.DEFAULT_MODEL, device: str = "auto") -> bool:
    """Return whether effort changes the file of a picture of that size: `visual` needs sides of at least 161 pixels.

    Raises WeightsError, DeviceError, ValueError.
    """
    objective = weights.load(name_of(model), torch_device(device)).objective
    return objective is not None and min(width, height) >= objective.smallest


def _encoding(
    picture: Pictures, model: Name, device: str, effort: int, alpha_quality: int, max_pixels: int
) -> Encoding:
    if not (isinstance(effort, numbers.Integral) and 0 <= effort < len(EFFORT_STEPS)):
        raise ValueError(f"effort {effort} is outside 0 to {len(EFFORT_STEPS) - 1}")
    if not (isinstance(alpha_quality, numbers.Integral) and 0 <= alpha_quality <= 100):
        raise ValueError(f"alpha quality {alpha_quality} is no whole number from 0 to 100")
    read_in = as_picture(picture, max_pixels)
    return Encoding(read_in, weights.load(name_of(model), torch_device(device)), alpha_quality)


def name_of(model: Name) -> str:
    """A model's name, or the path of its file. Raises ValueError."""
    if not isinstance(model, str | os.PathLike):
        raise ValueError(f"model {model!r} is no name of a model and no path of a .safetensors file")
    return os.fspath(model)


def decompress(
    data: Source,
    model: Name | None = None,
    device: str = "auto",
    max_pixels: int = DEFAULT_MAX_PIXELS,
    progress: Report | None = None,
    scale: int = 1,
) -> Picture:
    """The picture in a .nc file: its bytes, path or open file.

    model: only for files made with a private model, the path of its .safetensors file. scale: 2, 4 or 8 give
    a half, a quarter or an eighth, sides rounded up.
    Raises FormatError for damaged bytes or more than max_pixels pixels, WeightsError, ValueError.
    """
    if not isinstance(scale, numbers.Integral) or scale not in SCALES:
        raise ValueError(f"scale {scale} is not one of {', '.join(map(str, SCALES))}")
    c = container.unpack(bytes_of(data), whole_number("max_pixels", max_pixels))
    loaded = _model_of(c, None if model is None else name_of(model), torch_device(device))
    return decode(c, loaded, progress or silent, int(scale))


def whole_number(name: str, value: int) -> int:
    """An argument that is a count. Raises ValueError."""
    if not (isinstance(value, numbers.Integral) and value > 0):
        raise ValueError(f"{name} {value!r} is no whole number above 0")
    return int(value)


def as_picture(given: Pictures, max_pixels: int = DEFAULT_MAX_PIXELS) -> Picture:
    """A picture of whatever :func:`compress` takes. Raises ImageError."""
    if isinstance(given, Picture):
        if given.pixels.ndim != 3 or given.pixels.shape[2] != 3:
            raise ImageError(f"pixels of a picture have the shape (H, W, 3), not {given.pixels.shape}.")
        if given.alpha is not None and (given.alpha.dtype != np.uint8 or given.alpha.shape != given.pixels.shape[:2]):
            raise ImageError(f"an alpha of {given.alpha.shape} and {given.alpha.dtype} is not one of these pixels.")
        return replace(given, pixels=as_picture(given.pixels).pixels)
    if isinstance(given, Image.Image):
        return from_pillow(given)
    if not isinstance(given, np.ndarray):
        return read(bytes_of(given), whole_number("max_pixels", max_pixels))
    given = np.asarray(given)  # of numpy's matrix, which has its own ideas of shapes, an array
    shape: tuple[int, ...] = given.shape
    if given.dtype != np.uint8 or given.size == 0 or not (len(shape) == 2 or (len(shape) == 3 and shape[2] in (3, 4))):
        raise ImageError(
            f"an array (H, W, 3), (H, W, 4) or (H, W) of uint8 is needed, not one of shape {shape} and {given.dtype}."
        )
    if given.ndim == 2:
        return Picture(np.repeat(given[:, :, None], 3, axis=2), grey=True)
    if shape[-1] == 4:
        return Picture(np.ascontiguousarray(given[:, :, :3]), alpha=np.ascontiguousarray(given[:, :, 3]))
    return Picture(np.ascontiguousarray(given))


def torch_device(device: str) -> torch.device:
    """ "auto" is cuda where there is one. Raises DeviceError for a cuda that is not there, ValueError."""
    if not isinstance(device, str):
        raise ValueError(f"device {device!r} is none of auto, cpu and cuda")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceError("there is no CUDA device here: use --device cpu or auto.")
    try:
        found = torch.device(device)
    except RuntimeError:
        found = None
    if found is None or found.type not in ("cpu", "cuda"):
        raise ValueError(f"device {device!r} is none of auto, cpu and cuda")
    if found.type == "cuda" and not (found.index or 0) < torch.cuda.device_count():
        raise DeviceError(f"there is no device {device} here.")
    return found


def _model_of(c: Container, model: str | None, device: torch.device) -> weights.LoadedModel:
    if c.model_id != container.PRIVATE_MODEL:
        if model is not None:
            raise WeightsError("the file was made with a shipped model, and brings its id: leave --model out.")
        return weights.load(catalogue.find_id(c.model_id).name, device)
    wanted = c.fingerprint.hex()
    if model is None:
        raise WeightsError(f"the file was made with a private model (SHA-256 {wanted}...): name its file with --model.")
    loaded = weights.load(model, device)
    if loaded.fingerprint != c.fingerprint:
        raise WeightsError(f"{model} is not the model this file was made with (SHA-256 {wanted}...).")
    return loaded
