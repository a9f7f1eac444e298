"""Image files that tests make, with metadata, and the way in and out of the codec's pictures."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image, ImageCms

from neurocodec import images
from neurocodec.images import Picture

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
