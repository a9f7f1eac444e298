"""What comes with the pixels: ICC profile, EXIF and XMP, out of Pillow images and into files.

EXIF and XMP are kept as they are but for the orientation, which is applied to the pixels and must not
be applied again. It is patched in place: writing EXIF anew would break the offsets in makers' notes.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from PIL import Image, PngImagePlugin
from PIL.ExifTags import IFD, Base

from neurocodec.limits import SECTION_LIMIT
from neurocodec.unhindered import unhindered

PREFIX = b"Exif\x00\x00"  # of EXIF within JPEG, not a part of it
_TIFF_XMP = 700
# What TIFF shares with EXIF and describes the picture, not its storage.
_DESCRIPTIONS = (
    Base.ImageDescription,
    Base.Make,
    Base.Model,
    Base.Software,
    Base.DateTime,
    Base.Artist,
    Base.Copyright,
    Base.HostComputer,
)
_WITH_TIFF = (
    *_DESCRIPTIONS,
    Base.DocumentName,
    Base.XResolution,
    Base.YResolution,
    Base.ResolutionUnit,
    Base.Rating,
    Base.XPTitle,
    Base.XPComment,
    Base.XPAuthor,
    Base.XPKeywords,
    Base.XPSubject,
)
# What Pillow finds and turns pixels by. One space before it, for with any number a megabyte of spaces takes hours.
_XMP_ORIENTATION = re.compile(rb'\s?tiff:Orientation="[0-9]"|<tiff:Orientation>[0-9]</tiff:Orientation>')
_XMP_TURN = re.compile(rb'(tiff:Orientation(?:="|>))[0-9]')  # what Pillow looks for, if it is left
_NESTED = (IFD.Exif, IFD.GPSInfo)
_ELSEWHERE = (IFD.Interop, IFD.MakerNote)  # of those in EXIF's directory: offsets in them hold in their own file alone
NAMES = {"icc": "colour profile", "exif": "EXIF", "xmp": "XMP"}
PROFILE_SPACES = {b"RGB ": "RGB", b"GRAY": "grey", b"CMYK": "CMYK", b"Lab ": "Lab"}


@dataclass(frozen=True)
class Metadata:
    """Bytes as they are kept; empty where there are none."""

    icc: bytes = b""  # a profile that fits the pixels as they are kept
    exif: bytes = b""  # from its TIFF header on, without orientation
    xmp: bytes = b""


def read(image: Image.Image) -> tuple[Metadata, int, list[str]]:
    """-> what a loaded image brings, its orientation (1 to 8), and notes of what cannot be kept.

    The profile is whatever the image has; :func:`fitting_profile` says whether it fits.
    """
    notes: list[str] = []
    with unhindered():  # Pillow warns of damaged EXIF; the picture is whole all the same
        try:
            orientation = int(image.getexif().get(Base.Orientation, 1))
            exif = upright(_exif_of(image))
        except Exception:  # Pillow's parser raises anything for damaged data
            orientation, exif = 1, b""
            notes.append("its EXIF data are damaged and not kept.")
    found = {"ICC profile": image.info.get("icc_profile"), "EXIF": exif, "XMP": _xmp_of(image)}
    kept = {}
    for name, data in found.items():
        kept[name] = data if isinstance(data, bytes) else b""
        if len(kept[name]) > SECTION_LIMIT:
            notes.append(f"its {name} of {len(kept[name])} bytes is not kept: the limit is {SECTION_LIMIT}.")
            kept[name] = b""
    xmp = upright_xmp(kept["XMP"])
    return Metadata(kept["ICC profile"], kept["EXIF"], xmp), orientation if 1 <= orientation <= 8 else 1, notes


def _exif_of(image: Image.Image) -> bytes:
    stored = image.info.get("exif")
    exif = image.getexif()
    if isinstance(stored, bytes) and stored:
        before = Image.Exif()
        before.load(stored)
        if _contents(exif) == _contents(before):
            return stored.removeprefix(PREFIX)
        # A program has changed it, and may have taken out where the picture was taken. A directory whose tag is gone
        # is gone, too, though Pillow may still have it.
        kept = _selected(exif, set(exif) - {*_NESTED}, [ifd for ifd in _NESTED if ifd in exif or ifd not in before])
    else:
        kept = _selected(exif, _DESCRIPTIONS)
    return kept.tobytes().removeprefix(PREFIX) if len(kept) else b""


def _contents(exif: Image.Exif) -> list[dict[int, str]]:
    """All that EXIF says, but for the orientation, which may be XMP's and is applied in any case. In words, for 0/0,
    which cameras write where they do not know, is not equal to itself."""
    own = {tag: repr(value) for tag, value in exif.items() if tag != Base.Orientation}
    return [own, *({tag: repr(value) for tag, value in exif.get_ifd(ifd).items()} for ifd in _NESTED)]


def _selected(exif: Image.Exif, tags: Iterable[int], directories: Iterable[int] = _NESTED) -> Image.Exif:
    """Those tags of EXIF, and those of its directories of EXIF and GPS."""
    kept = Image.Exif()
    for tag in tags:
        if tag in exif:
            kept[tag] = exif[tag]
    for ifd in directories:
        if nested := exif.get_ifd(ifd):
            kept.get_ifd(ifd).update(nested)
            kept[ifd] = kept.get_ifd(ifd)
    return kept


def _xmp_of(image: Image.Image) -> bytes:
    xmp: Any = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    if isinstance(xmp, str):
        return xmp.encode("utf-8", "surrogateescape")
    return xmp if isinstance(xmp, bytes) else b""  # a damaged TIFF may have a number there


def upright(exif: bytes) -> bytes:
    """EXIF whose orientation, where it has one, says that nothing is to be turned.

    Raises KeyError or struct.error for bytes that hold no directory of tags.
    """
    if not exif:
        return exif
    order = _order(exif)
    straight = struct.pack(f"{order}HHIHH", Base.Orientation, 3, 1, 1, 0)
    found = bytearray(exif)
    for at, tag in _entries(exif, struct.unpack_from(f"{order}I", exif, 4)[0]):
        if tag == Base.Orientation:
            found[at : at + 12] = straight
    return bytes(found)


def _order(exif: bytes) -> str:
    """Its order of bytes, as struct has it. Raises KeyError."""
    return {b"II*\x00": "<", b"MM\x00*": ">"}[exif[:4]]


def _entries(exif: bytes, start: int) -> list[tuple[int, int]]:
    """Where each entry of a directory is, and its tag. Raises KeyError, struct.error."""
    order = _order(exif)
    (count,) = struct.unpack_from(f"{order}H", exif, start)
    places = range(start + 2, start + 2 + 12 * count, 12)
    return [(at, struct.unpack_from(f"{order}H10x", exif, at)[0]) for at in places]


def believed(found: Metadata) -> tuple[Metadata, list[str]]:
    """What a file of ours says, as it must be and a hostile one may not be: upright. And notes of what is damaged."""
    try:
        exif, notes = upright(found.exif), list[str]()
    except (KeyError, struct.error):
        exif, notes = b"", ["its EXIF data are damaged and not kept."]
    return Metadata(found.icc, exif, upright_xmp(found.xmp)), notes


def upright_xmp(xmp: bytes) -> bytes:
    """The same of XMP."""
    return _XMP_TURN.sub(rb"\g<1>1", _XMP_ORIENTATION.sub(b"", xmp))


def fitting_profile(icc: bytes, grey: bool) -> tuple[bytes, str | None]:
    """The profile if it can describe pixels as they are kept, and else a note why it is left out."""
    if not icc:
        return b"", None
    if len(icc) < 128 or icc[36:40] != b"acsp":
        return b"", "its colour profile is damaged and not kept."
    space = PROFILE_SPACES.get(icc[16:20], "another colour space")
    # An RGB profile describes grey as R = G = B; one of greys says nothing about colours.
    if space == "RGB" or (space == "grey" and grey):
        return icc, None
    return b"", f"its colour profile is for {space}, does not fit its pixels, and is not kept."


def options(form: str, metadata: Metadata) -> tuple[dict[str, Any], list[str]]:
    """Options of Pillow's `save` that put metadata into a file of a format, and notes of what it cannot hold."""
    kept = {name: data for name, data in vars(metadata).items() if data}
    if form not in ("PNG", "JPEG", "WEBP", "TIFF", "AVIF"):
        return {}, [f"{form} cannot hold its {', '.join(NAMES[k] for k in kept)}."] if kept else []
    found: dict[str, Any] = {"icc_profile": metadata.icc} if metadata.icc else {}
    if form == "TIFF":
        tags, notes = _tiff_options(metadata)
        return found | tags, notes
    if metadata.exif:
        found["exif"] = PREFIX + metadata.exif
    if metadata.xmp and form == "PNG":
        found["pnginfo"] = PngImagePlugin.PngInfo()
        found["pnginfo"].add_itxt("XML:com.adobe.xmp", metadata.xmp.decode("utf-8", "surrogateescape"))
    elif metadata.xmp:
        found["xmp"] = metadata.xmp
    return found, []


def _tiff_options(metadata: Metadata) -> tuple[dict[str, Any], list[str]]:
    found = Image.Exif()
    found.load(metadata.exif)
    # What else it may say of widths, strips and bits was true of another file, or never.
    tags = _selected(found, _WITH_TIFF)
    notes = ["what is damaged of its EXIF is left out of TIFF."] if _loses(metadata.exif, tags) else []
    if metadata.xmp:
        tags[_TIFF_XMP] = metadata.xmp
    # libtiff, which compresses, cannot write EXIF and GPS: they lie in directories of their own.
    apart = IFD.Exif in tags or IFD.GPSInfo in tags
    return ({"exif": tags} if len(tags) else {}) | ({"compression": "raw"} if apart else {}), notes


def _loses(exif: bytes, kept: Image.Exif) -> bool:
    """Whether a tag that TIFF would have is not among those that could be read."""
    if not exif:
        return False
    try:
        start = struct.unpack_from(f"{_order(exif)}I", exif, 4)[0]
        pointers = {tag: struct.unpack_from(f"{_order(exif)}I", exif, at + 8)[0] for at, tag in _entries(exif, start)}
        lost = {*pointers} & {*_WITH_TIFF} - {*kept}
        for ifd in {*pointers} & {*_NESTED}:
            lost |= {tag for _, tag in _entries(exif, pointers[ifd])} - {*kept.get_ifd(ifd), *_ELSEWHERE}
    except (KeyError, struct.error):
        return True
    return bool(lost)


def to_srgb(image: Image.Image, icc: bytes) -> Image.Image:
    """An image of any mode that has profiles, in sRGB. Raises ImageCms.PyCMSError, OSError."""
    from PIL import ImageCms  # a large extension that few pictures need

    profile = ImageCms.createProfile("LAB") if image.mode == "LAB" else ImageCms.ImageCmsProfile(io.BytesIO(icc))
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
    converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), intent, "RGB", flags=flags)
    if converted is None:
        raise OSError("the colours cannot be converted")
    return converted
