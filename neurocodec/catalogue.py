"""The one table of models and encoders that this release ships, and where their files are. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from neurocodec.errors import UnusableModelError, WeightsError


@dataclass(frozen=True)
class Model:
    """A shipped model. An id is a literal, is written into files, and is never used again."""

    id: int  # 1 to 254
    name: str
    file: str  # in the folder of weights
    sha256: str
    about: str


MODELS: tuple[Model, ...] = (
    Model(
        id=35,
        name="visual",
        file="visual-35.safetensors",
        sha256="0e2ce84ff2511f53fdbc57ecc9bee9877db4c2d0a4e27da3346221e18111c2bf",
        about="tuned for SSIMULACRA 2, with MSE",
    ),
    Model(
        id=36,
        name="psnr",
        file="psnr-36.safetensors",
        sha256="bda1201180cbb243a6e0198ff23ed9a532bf0e692cfe24877a65ed82c112facd",
        about="tuned for PSNR",
    ),
)
DEFAULT_MODEL = "visual"


@dataclass(frozen=True)
class Encoder:
    """A shipped encoder for the decoder of a model: what it writes are that model's files, with its id."""

    name: str
    file: str  # in the folder of weights: g_a and h_a alone
    sha256: str
    model: str  # the name of a shipped model
    about: str


ENCODERS: tuple[Encoder, ...] = (
    Encoder(
        name="restore",
        file="restore-36.safetensors",
        sha256="3d09322adabe30093f4cfccfa6baafe1407e4920ac45956fbbda50f5dc99dcc0",
        model="psnr",
        about="takes out noise, JPEG's blocks and blur; its files are those of psnr",
    ),
)
RESTORER = "restore"
RESTORED = next(encoder.model for encoder in ENCODERS if encoder.name == RESTORER)  # whose decoder it is for
ENCODER_PARTS = ("g_a", "h_a")  # the networks that no decoder needs
EXACT_PARTS = ("hyper_context", "h_s", "context")  # the prior, whose arithmetic is exact


def weights_folder() -> Path:
    """Where weights files are: inside an installed package, or beside it in a checkout."""
    inside = Path(__file__).parent / "_weights"
    return inside if inside.is_dir() else Path(__file__).parents[1] / "weights"


def shipped() -> tuple[Model | Encoder, ...]:
    """All that has a name."""
    return (*MODELS, *ENCODERS)


def find(name: str) -> Model | Encoder:
    """The shipped model or encoder of this name. Raises UnusableModelError naming those there are."""
    for model in shipped():
        if model.name == name:
            return model
    names = ", ".join(m.name for m in shipped())
    raise UnusableModelError(f"model {name!r} is not known: use one of {names}, or the path of a .safetensors file.")


def find_id(model_id: int) -> Model:
    """The shipped model of this id. Raises WeightsError."""
    for model in MODELS:
        if model.id == model_id:
            return model
    # Ids rise, and those of models that were never released are gone.
    other = "a newer one" if model_id > max(model.id for model in MODELS) else "the checkout that wrote it"
    raise WeightsError(f"the file needs model id {model_id}, which this release does not have: use {other}.")
