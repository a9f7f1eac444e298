"""The weights files that models live in: verify, load, write."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from neurocodec.catalogue import ENCODER_PARTS, EXACT_PARTS, MODELS, Encoder, Model, find, weights_folder
from neurocodec.errors import UnusableModelError, WeightsError
from neurocodec.fixedpoint import POSITION_BITS, make_exact
from neurocodec.layers import undrawn
from neurocodec.model import Codec
from neurocodec.networks import Config, Networks
from neurocodec.objective import Objective
from neurocodec.prior import PHASES, TABLES
from neurocodec.tables import Tables


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to use, and what tells it from others."""

    codec: Codec
    calibration: tuple[tuple[int, int], ...]  # (quality in hundredths, position in 2**-12), rising
    id: int | None  # None: not a shipped model
    fingerprint: bytes  # the first 4 bytes of the file's SHA-256
    objective: Objective | None = None  # what it was trained for, where the file says so
    restores: bool = False  # its encoder takes out noise: what it writes is meant to differ from the picture

    def position(self, quality: int) -> int:
        """The quality position of a quality in hundredths: linear between knots, in integers."""
        knots = self.calibration
        if quality <= knots[0][0]:
            return knots[0][1]
        for (q0, p0), (q1, p1) in pairwise(knots):
            if quality <= q1:
                return p0 + (p1 - p0) * (quality - q0) // (q1 - q0)
        return knots[-1][1]


# By name or path, and device, with the state of a private file when it was loaded.
_loaded: dict[tuple[object, str], tuple[tuple[int, ...], LoadedModel]] = {}


def load(name: str, device: torch.device) -> LoadedModel:
    """A model or encoder by its shipped name, or by the path of a weights file; loaded once per process, and again
    where the file is another one by now.

    Raises UnusableModelError.
    """
    private = name.endswith(".safetensors")
    key: tuple[object, str] = (name, str(device))
    state: tuple[int, ...] = ()
    if private:
        with suppress(OSError):
            found = Path(name).stat()
            key, state = (Path(name).resolve(), str(device)), (found.st_mtime_ns, found.st_size, found.st_ino)
    if key not in _loaded or _loaded[key][0] != state:
        path, wanted = (Path(name), None) if private else (weights_folder() / find(name).file, find(name))
        _loaded[key] = state, _load_file(path, wanted, device)
    return _loaded[key][1]


def read_tensors(path: Path) -> dict[str, Tensor]:
    """What a weights file holds. Raises UnusableModelError."""
    try:
        return safetensors.torch.load_file(path)
    except (OSError, SafetensorError) as error:
        raise UnusableModelError(f"{path}: the weights cannot be read: {error}.") from error


def _load_file(path: Path, wanted: Model | Encoder | None, device: torch.device) -> LoadedModel:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnusableModelError(f"{path}: the weights cannot be read: {error.strerror}.") from error
    digest = hashlib.sha256(data)
    if wanted is not None and digest.hexdigest() != wanted.sha256:
        raise UnusableModelError(
            f"{path}: these are not the weights of model {wanted.name!r}: install the package again."
        )
    try:
        tensors = safetensors.torch.load(data)
        metadata = _read_metadata(data)
        if "decoder" in metadata:
            return _with_encoder(_model_of(metadata["decoder"]), tensors, device)
        config = Config.of(json.loads(metadata["config"]))
        calibration = tuple((int(q), int(p)) for q, p in json.loads(metadata["calibration"]))
        objective = Objective.of(json.loads(metadata["objective"])) if "objective" in metadata else None
        codec = build_codec(config, tensors, device)
    except (UnusableModelError, MemoryError):
        raise
    except Exception as error:  # what a file says may be anything
        raise UnusableModelError(f"{path}: not a weights file of this package: {error}") from error
    if not _calibration_is_usable(calibration, config.anchors):
        raise UnusableModelError(f"{path}: its calibration does not rise from quality to quality.")
    number = wanted.id if isinstance(wanted, Model) else None
    return LoadedModel(codec, calibration, number, digest.digest()[:4], objective)


def _model_of(sha256: str) -> Model:
    """The shipped model whose file has this SHA-256."""
    for model in MODELS:
        if model.sha256 == sha256:
            return model
    raise WeightsError(f"it is an encoder for a model that this release does not ship (SHA-256 {sha256[:8]}...).")


def _with_encoder(model: Model, tensors: Mapping[str, Tensor], device: torch.device) -> LoadedModel:
    """A shipped model with other transforms of its encoder."""
    base = load(model.name, device)
    with undrawn():
        networks = Networks(base.codec.config)
    _load_floats(networks, ENCODER_PARTS, tensors)
    theirs = base.codec.networks
    networks.g_s = theirs.g_s
    networks.hyper_context, networks.h_s, networks.context = theirs.hyper_context, theirs.h_s, theirs.context
    codec = Codec(networks.to(device), base.codec.y_tables, base.codec.z_tables)
    return replace(base, codec=codec, restores=True)


def build_codec(config: Config, tensors: Mapping[str, Tensor], device: torch.device) -> Codec:
    """The codec of a weights file's tensors: float transforms, integer prior and tables."""
    # Not on the meta device: its first use imports half of torch's compiler, a whole second.
    with undrawn():
        networks = Networks(config)
    for name in EXACT_PARTS:
        integers = {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}
        make_exact(networks.get_submodule(name), integers)
    _load_floats(networks, (*ENCODER_PARTS, "g_s"), tensors)
    y_tables, z_tables = (
        Tables(
            tensors[f"{k}.frequencies"].numpy(),
            tensors[f"{k}.radius"].numpy(),
            k == "z_tables",
            tuple(tensors[f"{k}.pairs_from"].tolist()) if f"{k}.pairs_from" in tensors else (),
        )
        for k in ("y_tables", "z_tables")
    )
    _check_tables(y_tables, z_tables, config.anchors)
    return Codec(networks.to(device), y_tables, z_tables)


def _check_tables(y_tables: Tables, z_tables: Tables, anchors: int) -> None:
    """Raise WeightsError unless there is one for each phase of each of z, and for each number of y."""
    first = y_tables.pairs_from
    if y_tables.plain != TABLES or len(first) not in (0, anchors) or not all(0 <= n <= TABLES for n in first):
        raise WeightsError("its tables of latents are not those of this release.")
    if len(z_tables.radius) != PHASES * TABLES:
        raise WeightsError("its tables of hyper-latents are not those of this release.")
    if not (y_tables.are_whole() and z_tables.are_whole()):
        raise WeightsError("its tables are damaged.")


def _load_floats(networks: Networks, names: Sequence[str], tensors: Mapping[str, Tensor]) -> None:
    for name in names:
        floats = {k.removeprefix(f"{name}."): v.float() for k, v in tensors.items() if k.startswith(f"{name}.")}
        networks.get_submodule(name).load_state_dict(floats, assign=True)


def write(
    path: Path,
    config: Config,
    tensors: Mapping[str, Tensor],
    calibration: Sequence[tuple[int, int]],
    objective: Objective,
    note: str,
) -> str:
    """Write a weights file (half-precision floats, integers as small as they fit) -> its SHA-256."""
    metadata = {
        "config": json.dumps(asdict(config)),
        "calibration": json.dumps([list(knot) for knot in calibration]),
        "objective": json.dumps(asdict(objective)),
        "note": note,
    }
    return _write(path, tensors, metadata)


def write_encoder(path: Path, tensors: Mapping[str, Tensor], decoder: Model, note: str) -> str:
    """Write a weights file of the networks in ENCODER_PARTS, for the decoder of a shipped model -> its SHA-256."""
    return _write(path, tensors, {"decoder": decoder.sha256, "note": note})


def _write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    data = safetensors.torch.save({k: _small(v) for k, v in tensors.items()}, dict(metadata))
    beside = path.with_name(path.name + ".tmp")
    beside.write_bytes(data)
    beside.replace(path)
    return hashlib.sha256(data).hexdigest()


def _small(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    if tensor.is_floating_point():
        return tensor.half()
    fits = tensor.numel() and int(tensor.abs().max()) < 1 << 15
    return tensor.to(torch.int16 if fits else torch.int32)


def _read_metadata(data: bytes) -> dict[str, str]:
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    return {str(k): str(v) for k, v in header["__metadata__"].items()}


def _calibration_is_usable(calibration: Sequence[tuple[int, int]], anchors: int) -> bool:
    rising = all(a[0] < b[0] and a[1] <= b[1] for a, b in pairwise(calibration))
    top = (anchors - 1) << POSITION_BITS
    return rising and len(calibration) >= 2 and calibration[0][1] >= 0 and calibration[-1][1] <= top
