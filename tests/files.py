"""Image files that tests make, with metadata, and the way in and out of the codec's pictures."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from benchmarks import packaged
from neurocodec import images
from neurocodec.images import Picture
from tests.drawing import draw

LIMIT = 10**6
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF/></x:xmpmeta>'


def encode(image: Image.Image, form: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def read(data: bytes) -> Picture:
    return images.read(data, LIMIT)


def again(picture: Picture, extension: str) -> Picture:
    return read(images.write(picture, extension)[0])


def exif(orientation: int = 1) -> bytes:
    tags = Image.Exif()
    tags[0x010F] = "Acme"
    tags[0x0112] = orientation
    tags.get_ifd(0x8769)[0x9003] = "2026:11:21 12:00:00"
    return tags.tobytes()


def write_sources(folder: Path) -> Path:
    """Write parts of two photographs, and a small, a damaged and a transparent picture. Return the folder."""
    packaged.main([str(folder / "all")], standalone_mode=False)
    for name in ("chelsea.png", "coffee.png"):
        with Image.open(folder / "all" / name) as image:
            image.crop((100, 60, 300, 240)).save(folder / name)
    whole = (folder / "coffee.png").read_bytes()
    (folder / "damaged.png").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(draw("shapes", 160, 300)).save(folder / "small.png")
    Image.fromarray(np.zeros((200, 200, 4), np.uint8)).save(folder / "transparent.png")
    return folder
