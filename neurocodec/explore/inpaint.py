"""Inpainting: the autoencoder says what is hidden, given what is visible.

Two ways from the same start, a harmonic fill, and the default mixes both.

"project" is masked autoencoding: encode, decode, put the visible pixels back, and again. The latents settle
where the decoder's picture agrees with what is visible, and the hidden pixels are what such latents say
of them. The network is not quite indifferent to where its 16-pixel grid lies nor to how the picture is
turned; so every step turns and moves it at random, and the last steps are averaged. Qualities rise,
from few channels to many: from coarse to fine.

"optimise" is maximum a posteriori: y and z, not rounded, since no file is written, move by gradient
descent on bits + squared error of the visible pixels, with the machinery of ``neurocodec.refine``. The
hidden pixels are then what the prior and the context find cheapest.

Either wins on some pictures, and on fine texture the harmonic fill is hard to beat. So a few visible
pixels are hidden too: on these the error of each is measured, they are mixed by the weights that do best,
and sigma, how far visible pixels may be off while "optimise" trades them for bits, is what the harmonic
fill misses them by.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from neurocodec.encoding import Pixels
from neurocodec.errors import ImageError
from neurocodec.explore.fill import harmonic
from neurocodec.explore.turns import TURNS, turn, turn_back
from neurocodec.images import Picture
from neurocodec.model import Codec, whole
from neurocodec.networks import STRIDE
from neurocodec.objective import Objective
from neurocodec.refine import Latents, Refiner, Window
from neurocodec.relaxed import Rounding
from neurocodec.weights import LoadedModel
from neurocodec.windows import Area, Report, grow, part_of, tiles

Mask = NDArray[np.bool_]  # (H, W), True is hidden

METHODS = ("both", "project", "optimise")
WINDOW, HALO = 12, 2  # units of 64 pixels: what is filled at a time, and what is looked at around it
RISE = 40.0  # qualities that the steps of "project" rise by, up to the one that was asked for
AVERAGED = 0.25  # of the steps of "project": the last ones, whose mean is taken
LATENT_SIDE = 16  # pixels: moving the picture by so many moves the latents by one
RATE, LAST_RATE = 0.15, 0.1  # Adam's step of "optimise" in quantization steps, and the share that is left at the end
HELD = 0.04  # of the visible pixels: hidden too, to learn from
SLACK = 1.2  # sigma over the error of the harmonic fill
SIGMAS = (2.0, 40.0)  # levels of 255, least and most


@dataclass(frozen=True)
class Way:
    """How holes are filled."""

    method: str = "both"  # one of METHODS
    quality: float = 80.0  # 1 to 100
    steps: int = 40
    seed: int = 0


def mask_of(mask: Picture, picture: Picture) -> Mask:
    """What a mask picture hides: where it is 128 or brighter. Raises ImageError for a mask that makes no sense."""
    if mask.alpha is not None and not bool((mask.alpha == 255).all()):
        raise ImageError("the mask is transparent in places: it should be white where pixels are hidden, else black.")
    if (mask.width, mask.height) != (picture.width, picture.height):
        raise ImageError(
            f"the mask is {mask.width}x{mask.height} and the picture {picture.width}x{picture.height}: "
            "they should be of the same size."
        )
    hidden: Mask = mask.pixels.mean(axis=2) >= 128
    if not hidden.any():
        raise ImageError("the mask hides nothing: paint white what is to be filled in.")
    if not (~hidden & seen(picture)).any():
        raise ImageError("the mask hides everything that can be seen: leave some of the picture black in it.")
    return hidden


def seen(picture: Picture) -> Mask:
    """Where a picture has colours to go by: what is wholly transparent has none."""
    return np.ones(picture.pixels.shape[:2], bool) if picture.alpha is None else picture.alpha > 0


def inpaint(loaded: LoadedModel, picture: Picture, hidden: Mask, way: Way, report: Report) -> Pixels:
    """Pixels (H, W, 3) that are the picture's to the bit, but for the hidden ones."""
    pixels = np.array(picture.pixels)
    known = ~hidden & seen(picture)
    windows = list(holes(hidden, known))
    for i, (inner, outer) in enumerate(windows):
        x, there = (torch.from_numpy(v[outer]) for v in (pixels, known))
        part = part_of(report, i / len(windows), (i + 1) / len(windows))
        filled = fill(loaded, x.to(loaded.codec.device), there.to(loaded.codec.device), way, part).cpu().numpy()
        place = tuple(
            slice(a.start - b.start, a.stop - b.start) for a, b in zip(inner, outer, strict=True)
        )  # of the inner window in the outer
        pixels[inner][hidden[inner]] = filled[place][hidden[inner]]
        known[inner] |= hidden[inner]  # the windows to come join on to it
    return pixels


def holes(hidden: Mask, known: Mask) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Windows that hold hidden pixels, with and without what is looked at around them; first those that show most."""
    height, width = hidden.shape
    bounds = (-(-height // STRIDE), -(-width // STRIDE))
    inner = [area for area in tiles(whole(bounds), WINDOW) if hidden[slices(area, height, width)].any()]
    for area in sorted(inner, key=lambda a: -known[slices(a, height, width)].mean()):
        halo = HALO
        while not known[slices(grow(area, halo, bounds), height, width)].any():
            halo *= 2  # nothing to go by yet
        yield slices(area, height, width), slices(grow(area, halo, bounds), height, width)


def slices(area: Area, height: int, width: int) -> tuple[slice, slice]:
    """An area in units of 64 pixels, in pixels, within the picture."""
    (top, bottom), (left, right) = area
    return slice(top * STRIDE, min(bottom * STRIDE, height)), slice(left * STRIDE, min(right * STRIDE, width))


def fill(loaded: LoadedModel, pixels: Tensor, known: Tensor, way: Way, report: Report) -> Tensor:
    """pixels (H, W, 3) uint8, known (H, W) bool -> pixels in which the others are filled in."""
    x = pixels.float() / 255
    held = known & (torch.rand(known.shape, generator=torch.Generator().manual_seed(way.seed)) < HELD).to(x.device)
    if not bool((known & ~held).any()):
        held = torch.zeros_like(known)
    shown = known & ~held
    start = harmonic(x, shown)
    decoded = []
    if way.method != "optimise":
        decoded.append(project(loaded, start, shown, way, part_of(report, 0, 0.3) if way.method == "both" else report))
    if way.method != "project":
        sigma = sigma_of(start[held] - x[held])
        share = part_of(report, 0.3, 1) if way.method == "both" else report
        decoded.append(optimise(loaded, start, shown, way, sigma, share))
    # What the decoder misses at the rim of a hole is carried into it, and fades: no seam.
    found = [start, *(v + harmonic(x - v, shown) for v in decoded)]
    weights = mixture(torch.stack([v[held] - x[held] for v in found]).flatten(1))
    mixed = sum((w * v for w, v in zip(weights, found, strict=True)), torch.zeros_like(x))
    joined = mixed + harmonic(x - mixed, known)
    return torch.where(known[:, :, None], pixels, (joined.clamp(0, 1) * 255).round().byte())


def sigma_of(errors: Tensor) -> float:
    """sigma in levels of 255 of errors in [-1, 1]."""
    rms = 255 * float(errors.square().mean().sqrt()) if errors.numel() else 0.0
    return min(max(SLACK * rms, SIGMAS[0]), SIGMAS[1])


def mixture(errors: Tensor) -> list[float]:
    """Errors (ways, values) -> weights from 0 to 1 with the sum 1, in tenths, whose mix errs least."""
    ways = len(errors)
    count = max(errors.shape[1], 1)
    products = (errors.double() @ errors.double().T / count).cpu().numpy()
    # Held pixels are few in small pictures: a little of every error for itself keeps their weights even.
    products += np.eye(ways) * (products.trace() / ways * 16 / (16 + count) + 1e-12)
    tenths = (p for p in itertools.product(range(11), repeat=ways) if sum(p) == 10)
    return min(([v / 10 for v in p] for p in tenths), key=lambda w: float(np.array(w) @ products @ np.array(w)))


@torch.inference_mode()
def project(loaded: LoadedModel, start: Tensor, known: Tensor, way: Way, report: Report) -> Tensor:
    """start (H, W, 3) in [0, 1] -> the mean of the last pictures that the autoencoder makes of it."""
    generator = torch.Generator().manual_seed(way.seed)
    current, total = start, torch.zeros_like(start)
    averaged = max(round(way.steps * AVERAGED), 1)
    for step in range(way.steps):
        share = (step + 1) / way.steps
        quality = max(way.quality - RISE * (1 - share), 1.0)
        draw = torch.randint(0, 1 << 16, (3,), generator=generator).tolist()
        turned = turn(current, draw[0] % TURNS)
        decoded = autoencode(
            loaded.codec, turned, loaded.position(round(quality * 100)), draw[1] % LATENT_SIDE, draw[2] % LATENT_SIDE
        )
        decoded = turn_back(decoded, draw[0] % TURNS)
        current = torch.where(known[:, :, None], start, decoded)
        if step >= way.steps - averaged:
            total += decoded
        report(share)
    return total / averaged


def autoencode(codec: Codec, x: Tensor, position: int, top: int, left: int) -> Tensor:
    """g_s(g_a(x)), not rounded in between: (H, W, 3) -> (H, W, 3). top, left: pixels that the grid is moved by."""
    height, width = x.shape[:2]
    sides = (left, -(width + left) % STRIDE, top, -(height + top) % STRIDE)
    # All of the picture's edges are repeated, as the codec does it below and to the right.
    padded = F.pad(x.permute(2, 0, 1)[None], sides, mode="replicate").permute(0, 2, 3, 1)
    t = codec.t(position).float()
    decoded: Tensor = codec.networks.g_s(codec.networks.g_a(padded, t), t)
    return decoded[0, top : top + height, left : left + width]


class Continuous(Rounding):
    """Latents that stay as they are: nothing is going to be written."""

    soft = True

    def symbols(self, name: str, v: Tensor) -> tuple[Tensor, Tensor]:
        return v, v


def optimise(loaded: LoadedModel, start: Tensor, known: Tensor, way: Way, sigma: float, report: Report) -> Tensor:
    """start (H, W, 3) in [0, 1] -> what the decoder makes of the latents that take the fewest bits + error."""
    codec, position = loaded.codec, loaded.position(round(way.quality * 100))
    height, width = start.shape[:2]
    pixels = (start.clamp(0, 1) * 255).round().byte()
    y = codec.analyse(pixels, position)
    latents = Latents(y.clone(), codec.hyper_analyse(y, position).clone())
    area = whole((y.shape[1] // 4, y.shape[2] // 4))
    weight = 3 / (2 * math.log(2) * sigma**2)  # so that weight * 255^2 MSE is -log2 of a normal density
    model = Refiner(codec, Objective((weight, weight), mse=1.0, ms_ssim=0.0))
    window = Window(model, latents, area, area, pixels[None], (height, width), position)
    parameters = [latents.y.requires_grad_(True), latents.z.requires_grad_(True)]
    optimizer = torch.optim.Adam(parameters, lr=RATE, betas=(0.9, 0.99))
    for step in range(way.steps):
        optimizer.param_groups[0]["lr"] = RATE * max(LAST_RATE, (1 + math.cos(math.pi * step / way.steps)) / 2)
        bits, decoded = window.decode(latents, Continuous())
        masked = torch.where(known[:, :, None], decoded, window.x)  # hidden pixels are never wrong
        error = model.objective.distortion(masked, window.x)[0].sum() * height * width
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(bits + weight * error)
        optimizer.step()
        report((step + 1) / way.steps)
    with torch.no_grad():
        return window.decode(latents, Continuous())[1][0]
