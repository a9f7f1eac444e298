"""From a training run to a weights file: round the exact path, freeze the tables, calibrate, and
measure what all that cost in bits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from neurocodec import catalogue, weights
from neurocodec.errors import TrainingError
from neurocodec.fixedpoint import POSITION_BITS
from neurocodec.model import Codec, pad
from neurocodec.ms_ssim import SMALLEST as MS_SSIM_SMALLEST
from neurocodec.tables import Tables
from neurocodec.training.calibration import calibrate
from neurocodec.training.data import load_folder
from neurocodec.training.objective import TrainingModel
from neurocodec.training.recipe import TUNES
from neurocodec.training.rounding import best_reaches, to_integers
from neurocodec.training.run import averaged, read_checkpoint
from neurocodec.training.tables import SymbolCounter, counted_tables, model_tables, silenced
from neurocodec.training.thaw import thaw

CPU = torch.device("cpu")
WATCHED_PICTURES = 24
COUNTED_PICTURES = 160
CALIBRATION_PICTURES = 24
REDUCTION = 0.75  # of their sides
SIDE = 512  # pixels: larger pictures are cropped in the middle
SMALLEST = 192


def export(
    runs: Sequence[Path],
    out: Path,
    pictures: Path,
    valid: Path | None = None,
    report: Callable[[str], None] = print,
    calibration: Path | None = None,
) -> str:
    """Write the averaged weights of a run, or the mean of several (see :func:`mean_of`), as a weights file.

    Symbols are counted on the folder `pictures`. The quality scale is calibrated on the unchanged pictures of the
    folder `calibration`. If that is None, reduced pictures of the folder `pictures` are used. The cost of fixed point
    and of the frozen tables is measured on `valid`. Returns the SHA-256 of the file. Raises TrainingError.
    """
    if out.suffix != ".safetensors":
        raise TrainingError(f"{out}: a weights file is named .safetensors.")
    model, tune, steps = mean_of(runs)
    config = model.networks.config
    if TUNES[tune][-1].denoise:
        return export_encoder(out, model, steps, report)
    crops = load_crops(pictures)
    held_out = load_folder(valid, SMALLEST, CPU) if valid is not None else []
    watched = crops[:: max(1, len(crops) // WATCHED_PICTURES)]
    tensors = float_tensors(model, *catalogue.ENCODER_PARTS, "g_s")
    if (kept := kept_of(runs[0], model)) is not None:
        tensors = kept | tensors
        report("g_s alone has learnt: the prior and the tables stay")
    else:
        tensors |= prior_tensors(model, watched)
        tensors |= freeze_tables(model, tensors, crops[:: max(1, len(crops) // COUNTED_PICTURES)], report)
    codec = weights.build_codec(config, tensors, CPU)
    objective = TUNES[tune][-1].objective
    chosen = calibration_pictures(crops) if calibration is None else whole_pictures(calibration)
    knots = calibrate(codec, objective, chosen, report)
    out.parent.mkdir(parents=True, exist_ok=True)
    digest = weights.write(out, config, tensors, knots, objective, f"{tune}, {steps}")
    report(f"wrote {out}, {out.stat().st_size} bytes, SHA-256 {digest}")
    if held_out:
        shipped = weights.load(str(out), CPU).codec
        before = weights.build_codec(config, tensors | _table_tensors(*model_tables(config.anchors)), CPU)
        measure_cost(model, before, shipped, held_out, report)
    return digest


def mean_of(runs: Sequence[Path]) -> tuple[TrainingModel, str, str]:
    """The mean of the averaged weights of runs, their tune, and their steps in words. All but the first may be
    weights files, too.

    Runs that went on from one another, or from the same weights, lie in one valley, and their mean lies lower
    (Wortsman et al. 2022, "Model soups"). Raises TrainingError for runs of different configs or tunes, WeightsError.
    """
    if runs[0].is_file():
        raise TrainingError(f"{runs[0]}: name a run first, whose tune it is to be, and weights files behind it.")
    first = read_checkpoint(runs[0])
    model, tune, steps = averaged(first), first["settings"]["tune"], [f"step {first['step']}"]
    mean = model.state_dict()  # its tensors are the model's own
    for count, run in enumerate(runs[1:], start=2):
        if run.is_file():
            other, same_tune = thaw(run), True  # which a weights file does not tell
            steps.append(run.name)
        else:
            state = read_checkpoint(run)
            other, same_tune = averaged(state), state["settings"]["tune"] == tune
            steps.append(f"step {state['step']}")
        if other.networks.config != model.networks.config or not same_tune:
            raise TrainingError(f"{run} is of another config or tune than {runs[0]}: they have no mean.")
        for name, value in other.state_dict().items():
            mean[name].lerp_(value, 1 / count)
    model.eval().requires_grad_(False)
    return model, tune, " and ".join(steps)


def kept_of(run: Path, mean: TrainingModel) -> dict[str, Tensor] | None:
    """The tensors of the weights file that a run started from, if all but g_s are in a mean what they were there: then
    latents cost what they did, to the byte."""
    state = read_checkpoint(run)
    if not state["settings"].get("synthesis_only"):
        return None
    ours = mean.state_dict()
    same = all(torch.equal(v, ours[k]) for k, v in state["average"].items() if not k.startswith("networks.g_s."))
    kept: dict[str, Tensor] = state["frozen"]
    return kept if same else None


def export_encoder(out: Path, model: TrainingModel, note: str, report: Callable[[str], None]) -> str:
    """Write the encoder alone, with the name of the shipped model whose decoder it was trained for -> its SHA-256."""
    synthesis = float_tensors(model, "g_s")
    for shipped in catalogue.MODELS:
        tensors = weights.read_tensors(catalogue.weights_folder() / shipped.file)
        if all(k in tensors and torch.equal(tensors[k], v) for k, v in synthesis.items()):
            break
    else:
        raise TrainingError("its decoder is that of no shipped model: start the run from a file in weights/.")
    encoder = float_tensors(model, *catalogue.ENCODER_PARTS)
    out.parent.mkdir(parents=True, exist_ok=True)
    digest = weights.write_encoder(out, encoder, shipped, note)
    report(f"wrote {out}, {out.stat().st_size} bytes, SHA-256 {digest}: an encoder for model {shipped.name!r}")
    return digest


@torch.inference_mode()
def measure_cost(
    model: TrainingModel, believed: Codec, shipped: Codec, pictures: Sequence[Tensor], report: Callable[[str], None]
) -> list[tuple[float, float, float, float]]:
    """Bits per pixel at each anchor: of the float model, of the exact path with the float model's
    distributions, of the exact path with the frozen tables, and of the entropy coder's bytes."""
    rows = []
    for anchor in range(shipped.config.anchors):
        at, bits = anchor << POSITION_BITS, [0.0] * 4
        for picture in pictures:
            _, bits_y, bits_z = model(pad(picture[None].float() / 255), torch.tensor([float(anchor)]))
            bits[0] += float(bits_y + bits_z)
            for i, codec in ((1, believed), (2, shipped)):
                counter = SymbolCounter()
                codec.push_latents(picture, at, counter)
                bits[i] += counter.bits
            bits[3] += 8 * len(shipped.compress(picture, at))
        pixels = sum(p.shape[0] * p.shape[1] for p in pictures)
        rows.append((bits[0] / pixels, bits[1] / pixels, bits[2] / pixels, bits[3] / pixels))
        exact, tables, coder = (100 * (b / a - 1) for a, b in pairwise(bits))
        report(
            f"anchor {anchor}: float model {bits[0] / pixels:.4f} bpp, fixed point {exact:+.2f} %, "
            f"counted tables {tables:+.2f} %, coder {coder:+.2f} %"
        )
    return rows


def prior_tensors(model: TrainingModel, pictures: Sequence[Tensor]) -> dict[str, Tensor]:
    """The prior as tensors of a weights file; pictures (H, W, 3) uint8 show what its layers see."""
    tensors: dict[str, Tensor] = {}
    reaches = best_reaches(model, pictures)
    for part in catalogue.EXACT_PARTS:
        of_part = {k.removeprefix(f"{part}."): v for k, v in reaches.items() if k.startswith(f"{part}.")}
        integers = to_integers(model.networks.get_submodule(part), of_part)
        tensors |= {f"{part}.{k}": v for k, v in integers.items()}
    return tensors


def float_tensors(model: TrainingModel, *parts: str) -> dict[str, Tensor]:
    """Transforms as a weights file holds them, in half precision: tables are counted with the shipped network."""
    states = {part: model.networks.get_submodule(part).state_dict() for part in parts}
    return {f"{part}.{k}": v.half() for part, state in states.items() for k, v in state.items()}


@torch.inference_mode()
def freeze_tables(
    model: TrainingModel, tensors: dict[str, Tensor], pictures: Sequence[Tensor], report: Callable[[str], None]
) -> dict[str, Tensor]:
    """The frozen tables as tensors of a weights file, counted on pictures (H, W, 3) uint8."""
    config = model.networks.config
    codec = weights.build_codec(config, tensors | _table_tensors(*model_tables(config.anchors)), CPU)
    # Plain tables are what refinement and training ask, whatever files have in their place.
    plain = Codec(codec.networks, codec.y_tables.without_pairs(), codec.z_tables)
    counter, top = SymbolCounter(), (config.anchors - 1) << POSITION_BITS
    for i, picture in enumerate(pictures):
        for anchor in range(config.anchors):
            # A quarter off the anchors each time, so that tables see the positions between, too.
            offset = (i % 4 - 2) * (1 << POSITION_BITS) // 4
            at = min(max((anchor << POSITION_BITS) + offset, 0), top)
            y = codec.analyse(picture, at)
            z = codec.hyper_analyse(y, at)
            for each in (plain, codec):
                each.push_y_z(y.clone(), z, at, counter)
    counts = counter.of(codec.y_tables)
    for number, count in counter.of(plain.y_tables).items():
        counts[number] = counts.get(number, np.zeros_like(count)) + count
    report(f"tables frozen on {len(pictures)} pictures")
    return _table_tensors(
        silenced(counted_tables(codec.y_tables, counts)),
        counted_tables(codec.z_tables, counter.of(codec.z_tables)),
    )


def _table_tensors(y_tables: Tables, z_tables: Tables) -> dict[str, Tensor]:
    named = {"y_tables": y_tables, "z_tables": z_tables}
    tensors = {
        f"{name}.{field}": torch.from_numpy(getattr(tables, field))
        for name, tables in named.items()
        for field in ("frequencies", "radius")
    }
    return tensors | {"y_tables.pairs_from": torch.tensor(y_tables.pairs_from, dtype=torch.int32)}


def load_crops(folder: Path) -> list[Tensor]:
    """The middles of the pictures of a folder, (H, W, 3) uint8, at most SIDE wide and high."""
    return [_crop(p) for p in load_folder(folder, SMALLEST, CPU)]


def whole_pictures(folder: Path) -> list[NDArray[np.uint8]]:
    """Return the pictures of a folder, (H, W, 3) uint8, in the order of their names."""
    return [picture.numpy() for picture in load_folder(folder, MS_SSIM_SMALLEST, CPU)]


def calibration_pictures(crops: Sequence[Tensor]) -> list[NDArray[np.uint8]]:
    """CALIBRATION_PICTURES of the pictures, evenly chosen and reduced.

    Photographs mostly come as JPEG, and JPEG hardly loses anything on what it already rounded with the
    same tables: reducing the picture removes its traces.
    """
    step = max(1, len(crops) // CALIBRATION_PICTURES)
    return [_reduced(p.numpy()) for p in crops[step // 2 :: step][:CALIBRATION_PICTURES]]


def _reduced(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    scale = max(REDUCTION, MS_SSIM_SMALLEST / min(height, width))
    size = (math.ceil(width * scale), math.ceil(height * scale))
    return np.array(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def _crop(picture: Tensor) -> Tensor:
    height, width = picture.shape[:2]
    top, left = max(0, height - SIDE) // 2, max(0, width - SIDE) // 2
    return picture[top : top + SIDE, left : left + SIDE].contiguous()
