"""The denoising half of training: corruptions are what they say, and only the encoder learns from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from neurocodec import metrics
from neurocodec.cli import main
from neurocodec.training.corruption import CLEAN, Corruption, corrupt, gaussian_blur, random_corruption
from neurocodec.training.loop import train
from neurocodec.training.run import read_checkpoint
from tests.drawing import draw
from tests.test_training import CPU, SETTINGS, TINY, quiet


def picture(kind: str = "shapes", height: int = 96, width: int = 80) -> torch.Tensor:
    return torch.from_numpy(draw(kind, height, width)).float() / 255


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_noise_has_its_deviation_and_photons_the_deviation_of_light() -> None:
    grey = torch.full((200, 200, 3), 0.5)
    noisy = Corruption(noise=20).apply(grey, generator())
    assert float(noisy.std()) * 255 == pytest.approx(20, rel=0.02)
    assert float(noisy.mean()) == pytest.approx(0.5, abs=2e-3)
    shared = Corruption(noise=20, same=True).apply(grey, generator())
    assert float(shared.std()) * 255 == pytest.approx(20, rel=0.02)
    assert torch.equal(shared[..., 0], shared[..., 2])
    few = Corruption(photons=100).apply(grey, generator())
    assert float(few.std()) == pytest.approx((0.5 / 100) ** 0.5, rel=0.02)


def test_blur_is_a_gaussian_that_keeps_the_mean_and_the_size() -> None:
    point = torch.zeros(41, 41, 3)
    point[20, 20] = 1
    spread = gaussian_blur(point, 1.5)
    rows = torch.arange(41.0) - 20
    assert float(spread[..., 0].sum()) == pytest.approx(1, abs=1e-5)
    assert float((spread[..., 0].sum(1) * rows.square()).sum()) == pytest.approx(1.5**2, rel=0.03)
    x = picture()
    assert gaussian_blur(x, 1.6).shape == x.shape
    assert gaussian_blur(torch.full((5, 7, 3), 0.3), 1.6).allclose(torch.tensor(0.3))


def test_jpeg_is_pillows() -> None:
    x = picture()
    worse, better = (Corruption(jpeg=quality, subsampling=0).apply(x, generator()) for quality in (10, 60))
    of = [metrics.psnr((v * 255).round().byte().numpy(), draw("shapes", 96, 80)) for v in (worse, better)]
    assert of[0] < of[1] < 50


@pytest.mark.parametrize("cropped", [(0, 0), (3, 6)])
def test_blocks_begin_where_the_picture_was_cropped(cropped: tuple[int, int]) -> None:
    x = Corruption(jpeg=5, subsampling=0, cropped=cropped).apply(picture("noise", 128, 128), generator())
    assert x.shape == (128, 128, 3)
    for axis, cut in enumerate(cropped):
        steps = x.diff(dim=axis).abs().mean((1 - axis, 2))  # from a line to the next: largest where blocks meet
        edges = [float(steps[i::8].mean()) for i in range(8)]
        assert int(np.argmax(edges)) == (7 - cut) % 8


def test_corrupted_pictures_are_whole_and_repeatable_and_a_share_stays_clean() -> None:
    x = picture()[None].expand(60, -1, -1, -1)
    once, again = corrupt(x, generator(1)), corrupt(x, generator(1))
    assert torch.equal(once, again)
    assert torch.equal((once * 255).round() / 255, once)
    untouched = sum(torch.equal(a, b) for a, b in zip(once, x, strict=True))
    assert 0 < untouched < 30
    drawn = [random_corruption(generator(i)) for i in range(500)]
    # A picture that no kind befalls is clean, too.
    clean = sum(c == Corruption() for c in drawn) / len(drawn)
    assert CLEAN < clean < CLEAN + 0.2
    assert all(5 <= c.jpeg <= 60 for c in drawn if c.jpeg is not None)
    assert max(c.noise for c in drawn) <= 55
    assert {bool(c.photons) for c in drawn} == {True, False}
    assert max(c.blur for c in drawn) <= 1.6


def test_only_the_encoder_of_a_restorer_learns_and_it_is_validated_case_by_case(pictures: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, tune="psnr")
    train(pictures, tmp_path / "base", settings, device=CPU, config=TINY, report=quiet)
    settings = replace(SETTINGS, tune="restore", steps=3)
    train(pictures, tmp_path / "restore", settings, pictures, CPU, TINY, quiet, start=tmp_path / "base")
    before, after = (read_checkpoint(tmp_path / run) for run in ("base", "restore"))
    for name, tensor in after["model"].items():
        same = torch.equal(tensor, before["average"][name])
        assert same != name.startswith(("networks.g_a", "networks.h_a")) or not tensor.any(), name
    header, *rows = (tmp_path / "restore" / "validation.csv").read_text().splitlines()
    assert header.split(",")[:3] == ["step", "case", "t"]
    assert [row.split(",")[1] for row in rows] == ["clean", "noise", "jpeg", "blur"]
    # It goes on by itself, without being told again where it came from.
    train(pictures, tmp_path / "restore", replace(settings, steps=4), device=CPU, report=quiet)
    assert read_checkpoint(tmp_path / "restore")["step"] == 4


def test_a_restorer_needs_a_decoder(pictures: Path, tmp_path: Path) -> None:
    command = ["train", str(pictures), "--out", str(tmp_path / "run"), "--tune", "restore", "--device", "cpu"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    assert "name a --start" in result.stderr
    assert not (tmp_path / "run").exists()
    deeper = CliRunner().invoke(main, [*command, "--start", str(tmp_path), "--synthesis-blocks", "5", "2"])
    assert deeper.exit_code == 1
    assert "as deep as it is" in deeper.stderr
