"""A Pillow plugin: after `import neurocodec.pillow`, Pillow opens and saves .nc files.

    import neurocodec.pillow
    from PIL import Image

    Image.open("photo.png").save("photo.nc", quality=75)
    image = Image.open("photo.nc")  # size, mode and info are known; pixels are decoded when they are used

`Image.draft` and `thumbnail` decode small previews. Pillow has no way to find plugins of others by itself, so
the import is needed. Options of `save` are those of :func:`neurocodec.compress`: quality, model, effort,
alpha_quality, verify; icc_profile, exif and xmp are taken from the image unless given. Pillow empties a file before
it asks a format to write, so that a `save` that fails leaves nothing of what was there, as with Pillow's own formats:
where that matters, write what `neurocodec.compress(image)` returns.
"""

from __future__ import annotations

from typing import IO, Any

from PIL import Image, ImageFile, UnidentifiedImageError
from PIL.ExifTags import Base

from neurocodec import api, container, images
from neurocodec.errors import FormatError, ImageError, NeurocodecError
from neurocodec.limits import DEFAULT_MAX_PIXELS, excess
from neurocodec.metadata import PREFIX, Metadata, believed, fitting_profile, upright, upright_xmp
from neurocodec.unhindered import pillow_limit

FORMAT = "NEUROCODEC"
MIME = "image/x-neurocodec"


class NeurocodecImageFile(ImageFile.ImageFile):
    """A .nc file that is open: its fields are read, its pixels are not."""

    format = FORMAT
    format_description = "neurocodec"
    _bytes: bytes | None = None  # until pixels are asked for; a copy that was pickled has these

    def _open(self) -> None:
        if self.fp is None:
            raise SyntaxError("there is no file")
        self._bytes = self.fp.read()
        limit = pillow_limit()
        try:
            # Pillow's own limit is checked by Pillow, which warns first and then raises.
            c = container.unpack(self._bytes, max_pixels=container.SIDE_LIMIT**2)
            if limit is not None and (sentence := excess(c.width, c.height, max(2 * limit, DEFAULT_MAX_PIXELS))):
                raise FormatError(sentence)
        except FormatError as error:
            raise UnidentifiedImageError(str(error)) from error
        self._full = (c.width, c.height)
        self._scale = 1
        self._size = self._full
        self._mode = ("L" if c.grey else "RGB") + ("A" if c.alpha else "")
        self.info |= {"quality": c.quality / container.QUALITY_STEPS}
        kept, _ = believed(Metadata(c.icc, c.exif, c.xmp))
        exif = kept.exif and PREFIX + kept.exif  # as Pillow's own formats have it, and JPEG's `save` wants it
        self.info |= {k: v for k, v in {"icc_profile": kept.icc, "exif": exif, "xmp": kept.xmp}.items() if v}

    def draft(self, mode: str | None, size: tuple[int, int] | None) -> tuple[str, tuple[int, int, float, float]] | None:
        """Decode a half, a quarter or an eighth, if that is still at least as large as wanted."""
        if size is None or self._bytes is None:
            return None
        for scale in sorted(api.SCALES, reverse=True):
            if -(-self._full[0] // scale) >= size[0] and -(-self._full[1] // scale) >= size[1]:
                self._scale = scale
                self._size = (-(-self._full[0] // scale), -(-self._full[1] // scale))
                return self.mode, (0, 0, self._full[0] / scale, self._full[1] / scale)
        return None

    def load(self) -> Any:
        if self._bytes is not None:
            try:
                picture = api.decompress(self._bytes, max_pixels=container.SIDE_LIMIT**2, scale=self._scale)
            except NeurocodecError as error:  # what Pillow's own formats raise while they load
                raise OSError(str(error)) from error
            self._bytes = None
            if self.fp is not None and self._exclusive_fp:
                self.fp.close()
            # Not as a tile of raw pixels: Pillow would look for these in the file, and map it into memory.
            self.im = images.to_pillow(picture).im
        return super().load()


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(container.MAGIC)


def _turned(image: Image.Image, exif: Image.Exif | bytes | None) -> Image.Image:
    """An image that is saved with an orientation which it has not itself: formats that keep it beside the pixels leave
    the turning to viewers."""
    if isinstance(exif, bytes):
        given, exif = exif, Image.Exif()
        try:
            exif.load(given)
        except Exception:  # damaged, which is told below
            return image
    orientation = exif.get(Base.Orientation, 1) if exif else 1
    if orientation in images.TURNS and image.getexif().get(Base.Orientation, 1) == 1:
        return image.transpose(images.TURNS[orientation])
    return image


def _save(image: Image.Image, file: IO[bytes], filename: str | bytes) -> None:
    wanted: dict[str, Any] = getattr(image, "encoderinfo", {})
    picture = images.from_pillow(_turned(image, wanted.get("exif")))
    kept = vars(picture.metadata)
    for name, key in (("icc", "icc_profile"), ("exif", "exif"), ("xmp", "xmp")):
        if key in wanted:
            value = wanted[key] or b""
            value = value.encode() if isinstance(value, str) else value
            kept = kept | {name: value.tobytes() if isinstance(value, Image.Exif) else value}
    kept |= {"icc": fitting_profile(kept["icc"], picture.grey)[0], "xmp": upright_xmp(kept["xmp"])}
    try:
        kept |= {"exif": upright(kept["exif"].removeprefix(PREFIX))}
    except Exception as error:
        raise ImageError("the EXIF data to be saved are damaged.") from error
    options = {k: wanted[k] for k in ("quality", "model", "device", "effort", "alpha_quality", "verify") if k in wanted}
    whole = images.Picture(picture.pixels, picture.grey, picture.alpha, Metadata(**kept))
    file.write(api.compress(whole, **options))


Image.register_open(FORMAT, NeurocodecImageFile, _accept)
Image.register_save(FORMAT, _save)
Image.register_extension(FORMAT, ".nc")
Image.register_mime(FORMAT, MIME)
