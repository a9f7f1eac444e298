"""g_s alone learns, from what files hold: plain and refined latents."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from neurocodec import weights
from neurocodec.fixedpoint import ONE
from neurocodec.relaxed import RelaxedPrior
from neurocodec.training.data import load_folder
from neurocodec.training.export import export
from neurocodec.training.loop import train
from neurocodec.training.recipe import MSE
from neurocodec.training.rounded import RoundedModel
from neurocodec.training.run import Settings, read_checkpoint
from neurocodec.training.synthesis import SynthesisModel
from neurocodec.training.thaw import thaw
from neurocodec.training.validation import validate
from tests.drawing import draw
from tests.golden.make import TINY

CPU = torch.device("cpu")
SETTINGS = Settings(
    steps=40,
    batch=3,
    patch=192,
    tune="psnr",
    rounded=True,
    rate=2e-3,
    average=10,
    synthesis_only=True,
    refined=0.3,
)


def quiet(line: str) -> None:
    """Reports go nowhere."""


def losses(model: SynthesisModel, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Bits per pixel + lambda * distortion of each picture."""
    x_hat, bits_y, bits_z = model(x, t)
    lam = MSE.multiplier(t, model.networks.config.anchors)
    loss: torch.Tensor = (bits_y + bits_z) / (192 * 192) + lam * MSE.distortion(x_hat, x)[0]
    return loss


def test_plain_latents_are_those_of_a_file(tiny: weights.LoadedModel) -> None:
    pixels = torch.from_numpy(draw("shapes", 192, 192, 1))
    latents, size = SynthesisModel(tiny.codec.networks, tiny.codec, MSE, 0.0).held(pixels, 5000, False)
    data = tiny.codec.compress(pixels, 5000)
    assert size == len(data)
    assert torch.equal(latents * ONE, tiny.codec.decode_latents(data, 192, 192, 5000).float())


def test_a_share_of_them_is_refined(tiny: weights.LoadedModel) -> None:
    x = torch.stack([torch.from_numpy(draw("shapes", 192, 192, seed)) for seed in range(4)]) / 255
    t = torch.tensor([0.5, 1.0, 1.5, 2.0])
    plain, some, every = (
        losses(SynthesisModel(tiny.codec.networks, tiny.codec, MSE, share), x, t) for share in (0.0, 0.5, 1.0)
    )
    assert bool((every < plain).all())
    assert int((some < plain).sum()) == 2
    assert int((some == plain).sum()) == 2


@pytest.mark.slow
def test_it_learns_alone_from_what_files_hold(pictures: Path, tmp_path: Path) -> None:
    tiny = weights.load(str(TINY), CPU).codec
    before = validate(RoundedModel(tiny.networks, RelaxedPrior.of(tiny)).eval(), load_folder(pictures, 192, CPU))
    run = train(pictures, tmp_path, SETTINGS, pictures, CPU, start=TINY, report=quiet).parent
    rows = [line.split(",") for line in (run / "validation.csv").read_text().split()[1:]]
    after, start = read_checkpoint(tmp_path)["average"], thaw(TINY).state_dict()
    for name, value in start.items():
        if name.endswith("weight"):
            assert torch.equal(value, after[name]) != name.startswith("networks.g_s."), name
    for old, new in zip(before, rows, strict=True):
        assert float(new[2]) == pytest.approx(old["bpp"], rel=0.01)
    assert sum(float(row[4]) for row in rows) > sum(row["psnr"] for row in before) + 0.1
    # And its weights file differs in g_s alone.
    out = tmp_path / "out.safetensors"
    export([run, TINY], out, pictures, report=quiet)
    old_tensors, new_tensors = weights.read_tensors(TINY), weights.read_tensors(out)
    assert old_tensors.keys() == new_tensors.keys()
    for name, tensor in old_tensors.items():
        if name.endswith("weight") or not name.startswith("g_s."):
            assert torch.equal(tensor, new_tensors[name]) != name.startswith("g_s."), name
