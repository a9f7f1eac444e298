"""One picture on its way into a file, and back: sections around the latents.

What does not depend on the quality is made once, so that a search for a target repeats only networks.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from neurocodec import alpha, container, metadata, metrics, ms_ssim, ssimulacra2
from neurocodec.container import QUALITY_STEPS, Container
from neurocodec.entropy import Encoder
from neurocodec.errors import ImageError, UnusableModelError, VerificationError
from neurocodec.images import Picture
from neurocodec.metadata import Metadata
from neurocodec.networks import STRIDE
from neurocodec.refine import EFFORT_STEPS, Refiner
from neurocodec.targets import KINDS
from neurocodec.unhindered import unhindered
from neurocodec.weights import LoadedModel
from neurocodec.windows import Report, part_of, silent

Pixels = NDArray[np.uint8]  # (H, W, 3)
SMALLEST = {"msssim": ms_ssim.SMALLEST, "ssimulacra2": ssimulacra2.SMALLEST}  # pixels; shortest allowed side


class Encoding:
    """A picture that is to become a file, at any quality (in hundredths) of a model."""

    def __init__(self, picture: Picture, loaded: LoadedModel, alpha_quality: int = 100) -> None:
        self.picture, self.loaded = picture, loaded
        self.alpha = b"" if picture.alpha is None else alpha.pack(picture.alpha, alpha_quality)
        self.pixels = picture.pixels if picture.alpha is None else alpha.fill_hidden(picture.pixels, picture.alpha)
        self._seen = reflected(self.pixels) if loaded.restores else self.pixels
        self._measured: dict[int, bytes] = {}  # files that a search tried: it ends with one of them

    def encode(self, quality: int, effort: int = 0, report: Report = silent, verify: bool = False) -> bytes:
        """The bytes of the whole file; if asked to, decoded again and compared."""
        if quality in self._measured and not effort and not verify:
            return self._measured[quality]
        share = part_of(report, 0, 0.9) if verify else report
        latents, y_hat = self._refined(quality, effort, share) if effort else self._latents(quality, share)
        data = self._file(quality, latents)
        if verify:
            self._check(data, y_hat)
            report(1)
        return data

    def measure(self, quality: int, kind: str) -> float:
        """Return the "size" of the file in bytes, its "bpp", or the fidelity of the decoded picture.

        Fidelities are "psnr" in dB, "msssim" and "ssimulacra2".
        Raises ImageError for a picture that is too small for the measure, and UnusableModelError for a fidelity of a
        restored picture.
        """
        if self.loaded.restores and not KINDS[kind].at_most:
            raise UnusableModelError(
                "a restored picture is meant to differ from what it was made of: choose a quality, a size or bits per "
                "pixel as the target."
            )
        if min(self.picture.height, self.picture.width) < (smallest := SMALLEST.get(kind, 1)):
            raise ImageError(f"{KINDS[kind].unit} needs sides of at least {smallest} pixels: use --target-psnr.")
        latents, y_hat = self._latents(quality, silent)
        data = self._file(quality, latents)
        self._measured[quality] = data
        if kind in ("size", "bpp"):
            return self._size(data, kind)
        codec, position = self.loaded.codec, self.loaded.position(quality)
        pixels = codec.synthesise(y_hat, self.picture.height, self.picture.width, position).cpu().numpy()
        return self._fidelity(as_stored(pixels, self.picture.grey), kind)

    def value_of(self, data: bytes, kind: str) -> float:
        """As :meth:`measure`, of a file that is there."""
        if kind in ("size", "bpp"):
            return self._size(data, kind)
        c = container.unpack(data, max_pixels=container.SIDE_LIMIT**2)
        return self._fidelity(decode(c, self.loaded, silent).pixels, kind)

    def _size(self, data: bytes, kind: str) -> float:
        return (
            len(data) if kind == "size" else metrics.bits_per_pixel(len(data), self.picture.width, self.picture.height)
        )

    def _fidelity(self, decoded: Pixels, kind: str) -> float:
        measure = {"psnr": metrics.psnr, "msssim": metrics.ms_ssim, "ssimulacra2": metrics.ssimulacra2}[kind]
        return measure(self.pixels, decoded)

    def _latents(self, quality: int, report: Report) -> tuple[bytes, torch.Tensor]:
        coder = Encoder()
        position = self.loaded.position(quality)
        y_hat = self.loaded.codec.push_latents(as_tensor(self._seen), position, coder, report)
        return coder.finish(), y_hat

    def _refined(self, quality: int, effort: int, report: Report) -> tuple[bytes, torch.Tensor]:
        codec, objective = self.loaded.codec, self.loaded.objective
        if self.loaded.restores:
            raise UnusableModelError(
                "refinement would bring back what a restoring encoder took out: leave the effort at 0, or restore "
                "the picture first and compress what comes of it."
            )
        if objective is None:
            raise UnusableModelError(
                "the model does not say what it was trained for, as --effort needs: export it again."
            )
        position = self.loaded.position(quality)
        best = Refiner(codec, objective).refine(as_tensor(self.pixels), position, EFFORT_STEPS[effort], report)
        return best.data, best.y_hat

    def _file(self, quality: int, latents: bytes) -> bytes:
        shipped = self.loaded.id is not None
        return container.pack(
            Container(
                model_id=self.loaded.id if self.loaded.id is not None else container.PRIVATE_MODEL,
                quality=quality,
                width=self.picture.width,
                height=self.picture.height,
                grey=self.picture.grey,
                latents=latents,
                alpha=self.alpha,
                **vars(self.picture.metadata),
                fingerprint=b"" if shipped else self.loaded.fingerprint,
            )
        )

    def _check(self, data: bytes, y_hat: torch.Tensor) -> None:
        c = container.unpack(data, max_pixels=container.SIDE_LIMIT**2)
        decoded = self.loaded.codec.decode_latents(c.latents, c.height, c.width, self.loaded.position(c.quality))
        same = torch.equal(decoded.float(), y_hat)
        same = same and (c.alpha, c.icc, c.exif, c.xmp) == (self.alpha, *vars(self.picture.metadata).values())
        if not same:
            raise VerificationError(
                f"quality {c.quality / QUALITY_STEPS:g} does not decode to what was encoded, so nothing is written: "
                "a fault of this machine's memory or processor, or of ours; please report it if it happens again."
            )


def decode(c: Container, loaded: LoadedModel, report: Report, scale: int = 1) -> Picture:
    """The picture in a container, of the model that made it; or a scale-th of it, 2, 4 or 8. Raises FormatError."""
    channel = alpha.unpack(c.alpha, c.height, c.width) if c.alpha else None
    if channel is not None and scale > 1:
        channel = alpha.reduce(channel, scale)
    pixels = loaded.codec.decompress(c.latents, c.height, c.width, loaded.position(c.quality), report, scale)
    kept, notes = metadata.believed(Metadata(c.icc, c.exif, c.xmp))
    return Picture(as_stored(pixels.cpu().numpy(), c.grey), c.grey, channel, kept, tuple(notes))


def as_stored(pixels: Pixels, grey: bool) -> Pixels:
    """Decoded pixels; of a grey picture, the rounded mean of three channels that should be equal."""
    if not grey:
        return pixels
    mean = ((pixels.astype(np.uint16).sum(axis=2) + 1) // 3).astype(np.uint8)
    return np.repeat(mean[:, :, None], 3, axis=2)


def reflected(pixels: Pixels) -> Pixels:
    """pixels (H, W, 3) -> mirrored below and to the right, to multiples of the stride.

    For encoders that restore: a last line with noise in it, repeated as the codec does it, is a pattern and no
    noise. Mirrored, noise stays noise, and JPEG's blocks stay blocks.
    """
    height, width = pixels.shape[:2]
    found: Pixels = np.pad(pixels, ((0, -height % STRIDE), (0, -width % STRIDE), (0, 0)), mode="symmetric")
    return found


def as_tensor(pixels: Pixels) -> torch.Tensor:
    """The pixels without a copy; torch warns of arrays that it must not write to, and we do not."""
    with unhindered():
        return torch.from_numpy(pixels)
