"""What the commands of this subpackage share: settings, and pictures in and out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from neurocodec.commands.shared import (
    check_model,
    device_option,
    json_option,
    max_pixels_option,
    naming,
    quiet_option,
    read_picture,
)
from neurocodec.files import STANDARD, check_target, write_target
from neurocodec.options import Number, WholeNumber, force_option

if TYPE_CHECKING:
    from neurocodec.images import Picture
    from neurocodec.weights import LoadedModel

Function = TypeVar("Function", bound=Callable[..., Any])

SEEDS = 1 << 63  # what torch takes
seed_option = click.option("--seed", type=WholeNumber(0, SEEDS - 1), default=0, show_default=True, help="Of the dice.")


@dataclass(frozen=True)
class Settings:
    """What every command here takes."""

    quality: float
    model: str
    device: str
    max_pixels: int
    force: bool
    quiet: bool
    as_json: bool

    @property
    def hundredths(self) -> int:
        """The quality as files hold it."""
        return round(self.quality * 100)

    def load(self) -> LoadedModel:
        """The model, on its device. Raises WeightsError, NeurocodecError."""
        from neurocodec import api, weights

        return weights.load(self.model, api.torch_device(self.device))

    def read(self, source: str) -> Picture:
        """A picture. Raises NeurocodecError, which names its file."""
        return read_picture(source, self.max_pixels)[0]

    def check(self, source: str, target: str, also: Iterable[str] = ()) -> str:
        """The extension that a picture is written with, after all that can be checked before any work; also: others
        that the command takes."""
        check_target(source, target, self.force)
        check_model(self.model, self.device)
        extension = ".png" if target == STANDARD else Path(target).suffix
        from neurocodec import images

        images.check_extension(extension, also)
        return extension


def settings_options(quality: float, model: str) -> Callable[[Function], Function]:
    """The options of :class:`Settings`, with a command's own defaults."""

    def decorate(function: Function) -> Function:
        quality_kind = Number(1, 100)
        about_quality = "1 to 100: of the latents, as for compress."
        about_model = "A shipped model, or a .safetensors file."
        for option in (  # from the last to the first that --help shows
            json_option,
            quiet_option,
            force_option,
            max_pixels_option,
            device_option,
            click.option("--model", default=model, show_default=True, help=about_model),
            click.option("-q", "--quality", type=quality_kind, default=quality, show_default=True, help=about_quality),
        ):
            function = option(function)
        return function

    return decorate


def check_fits(target: str, extension: str, width: int, height: int, alpha: bool = False) -> None:
    """Before any work: raise ImageError unless the target can hold such a picture."""
    from neurocodec import images

    with naming(target):
        images.check_fits(extension, width, height, alpha)


def write(picture: Picture, target: str, extension: str, force: bool) -> tuple[str, ...]:
    """Write a picture -> notes of what its format cannot hold."""
    from neurocodec import images

    with naming(target):
        encoded, notes = images.write(picture, extension)
    write_target(target, encoded, force)
    return tuple(notes)


def on_white(picture: Picture) -> tuple[Picture, tuple[str, ...]]:
    """A picture in sRGB without transparency, and notes of it, for commands whose output is not that picture."""
    from neurocodec import images

    plain = images.laid_on(images.stripped(picture), (255, 255, 255))
    return plain, plain.notes + (() if picture.alpha is None else ("its transparency is laid on white.",))
