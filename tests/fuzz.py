"""python -m tests.fuzz [--cases N] [--seed S] [--nested]: damaged and hostile files, as many as there is time for.

Files are mutated and mostly given a fresh checksum, so that what is behind it is reached. The rule: a picture, or
one of our errors in one sentence; never another exception, and bounded processor time. Run it for
hours after a change of the format; tests/test_fuzz.py runs a part of it. --nested takes EXIF and profiles that are
nonsense inside (``tests.hostile``), on the way in and in containers, and all the way out again.
"""

from __future__ import annotations

import io
import random
import struct
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import click
import numpy as np
from PIL import Image, ImageCms

from neurocodec import api, container, images
from neurocodec.container import MAGIC
from neurocodec.errors import NeurocodecError
from neurocodec.images import Picture
from neurocodec.metadata import Metadata
from tests import hostile
from tests.drawing import draw
from tests.golden.make import TINY

MODEL = str(TINY)
LIMIT = 4096  # pixels, so that a case takes milliseconds
EXACT = (".png", ".webp", ".tif", ".bmp", ".ppm")
SECONDS = 60.0  # most processor time of a case: ten thousand times the usual, unaffected by other processes

Mutation = Callable[[bytearray, random.Random], None]


@dataclass
class Report:
    """What became of the cases."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)  # (mutation, outcome)
    broken: list[str] = field(default_factory=list)  # what was outside the rules
    slowest: float = 0.0

    def table(self) -> str:
        """A line for each kind of damage: how many were refused, and how many gave a picture."""
        kinds = sorted({kind for kind, _ in self.outcomes})
        wide = max(28, *map(len, kinds))
        lines = [f"{'damage':>{wide}} {'refused':>8} {'picture':>8}"]
        lines += [f"{k:>{wide}} {self.outcomes[k, 'refused']:8} {self.outcomes[k, 'picture']:8}" for k in kinds]
        return "\n".join([*lines, f"slowest case {self.slowest:.2f} s, outside the rules {len(self.broken)}"])


def corpus() -> list[bytes]:
    """Whole .nc files with every section there is."""
    pixels, alpha = draw("shapes", 30, 40), draw("gradient", 30, 40)[:, :, 0]
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010F] = "Acme"
    full = Picture(pixels, alpha=alpha, metadata=Metadata(icc, exif.tobytes().removeprefix(b"Exif\0\0"), b"<xmp/>"))
    plain = [api.compress(draw(kind, 9, 50), q, MODEL) for kind, q in (("noise", 90), ("flat", 1), ("shapes", 50))]
    grey = api.compress(pixels[:, :, 0], 70, MODEL)
    return [
        *plain,
        grey,
        api.compress(full, 60, MODEL),
        api.compress(Picture(pixels, alpha=alpha // 255 * 255), 20, MODEL),
    ]


def pictures() -> list[bytes]:
    """Image files with profile, EXIF and XMP, for the way in."""
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0x9003] = "2026:11:21 12:00:00"
    rgba = Image.fromarray(np.concatenate([draw("shapes", 20, 24), draw("noise", 20, 24)[:, :, :1]], 2))
    found = []
    for form in ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "JPEG2000", "AVIF"):
        out = io.BytesIO()
        image = rgba if form in ("PNG", "WEBP", "TIFF") else rgba.convert("RGB")
        options = {"icc_profile": icc, "exif": exif} if form not in ("GIF", "BMP", "PPM", "JPEG2000") else {}
        image.save(out, form, **options)
        found.append(out.getvalue())
    return found


def flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 6)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def overwrite(data: bytearray, rng: random.Random) -> None:
    at, length = rng.randrange(len(data)), rng.randint(1, 40)
    data[at : at + length] = rng.choice([bytes(length), b"\xff" * length, rng.randbytes(length)])


def truncate(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def insert(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data))
    data[at:at] = rng.randbytes(rng.randint(1, 30))


def cut(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data))
    del data[at : at + rng.randint(1, 30)]


def header(data: bytearray, rng: random.Random) -> None:
    """A field of the header, to an extreme or to anything."""
    at = rng.randrange(4, min(30, len(data)))
    data[at] = rng.choice([0, 1, 2, 0x7F, 0x80, 0xFF, rng.randrange(256)])


def sizes(data: bytearray, rng: random.Random) -> None:
    """Width, height or a length that is huge, none, or not in its shortest form."""
    at = rng.randrange(13, min(26, len(data)))
    huge = rng.choice(
        [b"\xff\xff\xff\x7f", b"\x80\x80\x80\x01", b"\x80\x00", b"\x00", b"\xff\xff\xff\xff", b"\x80\x80\x04"]
    )
    data[at : at + rng.randint(1, 3)] = huge


def sections(data: bytearray, rng: random.Random) -> None:
    """Flags that promise other sections than there are."""
    data[6] = rng.randrange(32)


def swap(data: bytearray, rng: random.Random) -> None:
    """Two stretches change places."""
    length = rng.randint(1, max(1, len(data) // 4))
    a, b = sorted(rng.randrange(max(1, len(data) - length)) for _ in range(2))
    if a + length <= b:
        data[a : a + length], data[b : b + length] = data[b : b + length], data[a : a + length]


MUTATIONS: tuple[Mutation, ...] = (flip, overwrite, truncate, insert, cut, header, sizes, sections, swap)


def cases(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """(kind of damage, bytes): .nc files, one in five an image file for the way in."""
    rng = random.Random(seed)
    packed, pictured = corpus(), pictures()
    for i in range(count):
        mutation = rng.choice(MUTATIONS)
        if i % 5 == 4:
            data = bytearray(rng.choice(pictured))
            for _ in range(rng.randint(1, 3)):
                rng.choice((flip, overwrite, truncate, insert, cut, swap))(data, rng)
                data = data or bytearray(b"\0")
            yield "picture, any", bytes(data)
            continue
        data = bytearray(rng.choice(packed))
        resealed = rng.random() < 0.85
        body = data[:-4] if resealed else data
        mutation(body, rng)
        if resealed:
            body[:4] = MAGIC
            body += struct.pack("<I", zlib.crc32(body))
        yield f"{mutation.__name__}, {'resealed' if resealed else 'as it is'}", bytes(body)


def nested(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """(kind of nonsense, bytes): image files and .nc files by turns, whose EXIF and profiles lie."""
    rng = random.Random(seed)
    sections = hostile.sections(rng)
    plain = container.unpack(api.compress(draw("shapes", 10, 12), 50, MODEL))
    for i in range(count):
        if i % 2:
            kind, found = next(sections)
            yield kind, container.pack(replace(plain, exif=found.get("exif", b""), icc=found.get("icc", b"")))
        else:
            kind, data = hostile.picture(rng)
            yield f"picture, {kind}", data


def decode(kind: str, data: bytes) -> Picture:
    if kind.startswith("picture"):
        return images.read(data, LIMIT)
    return api.decompress(data, MODEL, max_pixels=LIMIT)


def decode_and_write(kind: str, data: bytes) -> Picture:
    """Also: stripped, into every format and out of it again, with the pixels that went in."""
    picture = decode(kind, data)
    if images.stripped(picture).pixels.shape != picture.pixels.shape:
        raise ValueError("stripped, it is another picture")
    for extension in images.OUTPUTS:
        if picture.alpha is not None and images.OUTPUTS[extension][0] not in images.WITH_ALPHA:
            continue
        again = images.read(images.write(picture, extension)[0], LIMIT)
        same = again.pixels.shape == picture.pixels.shape
        if extension in EXACT and picture.alpha is None:
            same = same and bool((again.pixels == picture.pixels).all())
        if not same:
            raise ValueError(f"in {extension} it is another picture")
    return picture


def run(seed: int, count: int, whole: bool = False) -> Report:
    """Try all cases; whole: the nested ones, all the way out."""
    report = Report()
    do = decode_and_write if whole else decode
    for kind, data in (nested if whole else cases)(seed, count):
        start = time.process_time()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                do(kind, data)
            outcome = "picture"
        except NeurocodecError as error:
            outcome = "refused"
            if not str(error) or "\n" in str(error):
                report.broken.append(f"{kind}: not one sentence: {error!r} for {data.hex()}")
        except Exception as error:
            outcome = "broken"
            report.broken.append(f"{kind}: {error!r} for {data.hex()}")
        seconds = time.process_time() - start
        if seconds > SECONDS:
            report.broken.append(f"{kind}: {seconds:.1f} s for {data.hex()}")
        report.outcomes[kind, outcome] += 1
        report.slowest = max(report.slowest, seconds)
    return report


@click.command()
@click.option("--cases", "count", default=20_000, show_default=True)
@click.option("--seed", default=None, type=int, help="By default another one each time.")
@click.option("--nested", "whole", is_flag=True, help="EXIF and profiles that are nonsense inside.")
def main(count: int, seed: int | None, whole: bool) -> None:
    """Try damaged files until one breaks the rules or all are tried."""
    chosen = random.randrange(1 << 30) if seed is None else seed
    print(f"seed {chosen}")
    report = run(chosen, count, whole)
    print(report.table())
    for line in report.broken:
        print(line)
    raise SystemExit(bool(report.broken))


if __name__ == "__main__":
    main()
