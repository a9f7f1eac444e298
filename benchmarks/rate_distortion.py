"""Bytes on disk and distortion of each codec at each setting, means over pictures."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.pictures import Pixels
from neurocodec import metrics
from neurocodec.cli import main as neurocodec_command


@dataclass(frozen=True)
class Point:
    """One codec at one setting, means over all pictures."""

    codec: str
    setting: float
    bpp: float
    psnr: float  # dB
    ms_ssim: float

    @property
    def ms_ssim_db(self) -> float:
        return metrics.decibels(self.ms_ssim)

    def fields(self) -> dict[str, float | str]:
        return asdict(self)


# A codec takes the path of a lossless picture and a setting, writes a file and decodes it again:
# -> (bytes on disk, decoded pixels).
CodecRun = Callable[[Path, float, Path], tuple[int, Pixels]]


def jpeg(source: Path, setting: float, folder: Path) -> tuple[int, Pixels]:
    """Pillow's JPEG, 4:2:0, optimize and progressive: a fairer one than most papers use."""
    out = folder / "out.jpg"
    with Image.open(source) as image:
        image.save(out, "JPEG", quality=round(setting), optimize=True, progressive=True)
    return out.stat().st_size, read(out)


def neurocodec(model: str) -> CodecRun:
    """This codec, through its command line."""

    def run(source: Path, setting: float, folder: Path) -> tuple[int, Pixels]:
        packed, decoded = folder / "out.nc", folder / "out.png"
        options = ["--force", "--quiet"]
        private = ["--model", model] if model.endswith(".safetensors") else []
        command(["compress", str(source), str(packed), "--quality", str(setting), "--model", model, *options])
        command(["decompress", str(packed), str(decoded), *private, *options])
        return packed.stat().st_size, read(decoded)

    return run


def command(arguments: Sequence[str]) -> None:
    """Run a neurocodec command in this process, so that the model is loaded once."""
    neurocodec_command(list(arguments), standalone_mode=False)


def read(path: Path) -> Pixels:
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def measure(
    name: str, run: CodecRun, pictures: Mapping[str, Pixels], settings: Sequence[float], report: Callable[[str], None]
) -> list[Point]:
    """A point for each setting."""
    points = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for picture, pixels in pictures.items():
            Image.fromarray(pixels).save(folder / f"{Path(picture).stem}.png", compress_level=1)
        for setting in settings:
            rows = []
            for picture, pixels in pictures.items():
                size, decoded = run(folder / f"{Path(picture).stem}.png", setting, folder)
                height, width = pixels.shape[:2]
                bpp = metrics.bits_per_pixel(size, width, height)
                rows.append((bpp, metrics.psnr(pixels, decoded), metrics.ms_ssim(pixels, decoded)))
            bpp, psnr, ms_ssim = (float(np.mean(column)) for column in zip(*rows, strict=True))
            points.append(Point(name, setting, bpp, psnr, ms_ssim))
            report(f"{name:>10} {setting:5g}: {bpp:.4f} bpp, PSNR {psnr:.2f} dB, MS-SSIM {ms_ssim:.4f}")
    return points
