"""Restoring: better than what came, and than what a library makes of it; files that every decoder knows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import skimage
import torch
from PIL import Image

from benchmarks import restoration as benchmark
from neurocodec import api, catalogue, fields, metrics, weights
from neurocodec.encoding import Pixels, reflected
from neurocodec.errors import TrainingError, UnusableModelError, WeightsError
from neurocodec.explore.restore import restore
from neurocodec.targets import Target
from neurocodec.training.corruption import Corruption
from neurocodec.training.export import export
from neurocodec.training.loop import train
from neurocodec.training.run import Settings
from tests.commands import MODEL, assert_error, opened, run
from tests.drawing import draw
from tests.golden.make import TINY
from tests.test_training import quiet

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def photograph() -> Pixels:
    with Image.open(Path(skimage.__file__).parent / "data" / "coffee.png") as image:
        return np.asarray(image.crop((140, 40, 396, 232)))


@pytest.fixture
def noisy(photograph: Pixels, tmp_path: Path) -> Path:
    Image.fromarray(benchmark.corrupted(photograph, Corruption(noise=25), 0)).save(tmp_path / "noisy.png")
    return tmp_path / "noisy.png"


@pytest.mark.parametrize("case", benchmark.NOISES)
def test_it_beats_the_others(photograph: Pixels, case: str) -> None:
    spoilt = benchmark.corrupted(photograph, benchmark.CASES[case], 1)
    values: dict[str, dict[str, tuple[float, float]]] = {}
    benchmark.measure("coffee", photograph, spoilt, benchmark.OTHERS | benchmark.our_ways("restore"), values, {})
    found = benchmark.means(values)
    ours = found.pop(benchmark.ALL_PASSES)
    once = found.pop(benchmark.OURS)
    assert once[0] > found[benchmark.INPUT][0] + 1
    assert ours[0] > max(v[0] for v in found.values())
    assert ours[1] > max(v[1] for v in found.values())
    assert ours[0] > once[0] - 0.05


def test_blur_is_sharpened(photograph: Pixels) -> None:
    loaded = weights.load("restore", CPU)
    spoilt = benchmark.corrupted(photograph, benchmark.CASES["blur 1.2"], 1)
    restored = restore(loaded.codec, spoilt, loaded.position(10000), 1)
    assert metrics.psnr(photograph, restored) > metrics.psnr(photograph, spoilt) + 1.5


def test_clean_pictures_stay(photograph: Pixels) -> None:
    codec = weights.load("restore", CPU).codec
    restored = restore(codec, photograph, weights.load("restore", CPU).position(10000), 1)
    assert metrics.psnr(photograph, restored) > 38


@pytest.mark.slow
def test_windows_do_not_show(photograph: Pixels) -> None:
    loaded = weights.load("restore", CPU)
    pixels = np.tile(photograph, (2, 2, 1))[:300, :330]
    codec = type(loaded.codec)(loaded.codec.networks, loaded.codec.y_tables, loaded.codec.z_tables, window=2)
    whole, parts = (restore(c, pixels, loaded.position(10000), 2) for c in (loaded.codec, codec))
    assert np.abs(whole.astype(int) - parts).max() <= 1


def test_noise_goes_at_the_edges_too(photograph: Pixels) -> None:
    """What the picture is filled up with to whole squares is noise as well, and no stripes of its last line."""
    loaded = weights.load("restore", CPU)
    clean = photograph[:130, :150]
    spoilt = benchmark.corrupted(clean, Corruption(noise=25), 3)
    filled = reflected(spoilt)
    assert filled.shape == (192, 192, 3)
    np.testing.assert_array_equal(filled[130:140], filled[129:119:-1])
    edges = [(slice(-8, None), slice(None)), (slice(None), slice(-8, None))]
    for restored in (
        restore(loaded.codec, spoilt, loaded.position(10000), 1),
        api.decompress(api.compress(spoilt, 90, model="restore")).pixels,
    ):
        assert all(metrics.psnr(clean[edge], restored[edge]) > metrics.psnr(clean, restored) - 1.5 for edge in edges)


@pytest.mark.parametrize("size", [(1, 1), (1, 70), (65, 3)])
def test_any_size(size: tuple[int, int]) -> None:
    loaded = weights.load("restore", CPU)
    assert restore(loaded.codec, draw("flat", *size), loaded.position(10000), 8).shape == (*size, 3)


def test_command(noisy: Path, photograph: Pixels) -> None:
    out = noisy.with_name("out.png")
    result = run("restore", noisy, out, "--passes", "2", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["passes"] == 2
    assert metrics.psnr(photograph, np.asarray(opened(out))) > 32
    assert_error(run("restore", noisy, out), "exists")
    assert_error(run("restore", noisy, noisy, "--force"), "noisy.png")
    assert_error(run("restore", noisy, noisy.with_name("x.nc")), ".nc")
    packed = noisy.with_name("packed.nc")
    assert run("compress", noisy, packed).exit_code == 0
    assert_error(run("restore", packed, noisy.with_name("x.png")), "packed.nc: a neurocodec file already")
    assert_error(run("restore", noisy, noisy.with_name("y.png"), "--model", "psnr"), "psnr is no encoder that restores")
    assert run("restore", noisy, noisy.with_name("y.png"), "--passes", "9").exit_code == 2


def test_everything_else_of_a_picture_stays(noisy: Path) -> None:
    grey, clear = noisy.with_name("grey.png"), noisy.with_name("clear.png")
    exif = Image.Exif()
    exif[0x010E] = "a description"
    opened(noisy).convert("L").save(grey, exif=exif)
    image = opened(noisy)
    image.putalpha(Image.fromarray(np.tile(np.arange(256, dtype=np.uint8), (192, 1))))
    image.save(clear)
    for source in (grey, clear):
        assert run("restore", source, source.with_suffix(".out.png")).exit_code == 0
    out = opened(grey.with_suffix(".out.png"))
    assert (out.mode, out.getexif()[0x010E]) == ("L", "a description")
    out = opened(clear.with_suffix(".out.png"))
    np.testing.assert_array_equal(np.asarray(out)[:, :, 3], np.asarray(image)[:, :, 3])


def test_files_are_those_of_the_model(noisy: Path, photograph: Pixels) -> None:
    """Smaller than with the noise in them, and decoded by a model that knows nothing of restoring."""
    out, plain = noisy.with_name("out.nc"), noisy.with_name("plain.nc")
    assert run("compress", "--restore", "--verify", "-q", "70", noisy, out).exit_code == 0
    assert run("compress", "--model", "psnr", "-q", "70", noisy, plain).exit_code == 0
    assert out.stat().st_size < 0.5 * plain.stat().st_size
    assert fields.info(out).model == "psnr"
    decoded = [metrics.psnr(photograph, api.decompress(path).pixels) for path in (out, plain)]
    assert decoded[0] > decoded[1] + 2
    for model in ("psnr", "restore"):  # said, though it goes without saying
        same = noisy.with_name(f"{model}.nc")
        assert run("compress", "--restore", "--model", model, "-q", "70", noisy, same).exit_code == 0
        assert same.read_bytes() == out.read_bytes()
    size = noisy.with_name("size.nc")
    assert run("compress", "--restore", "--target-size", "4000", noisy, size).exit_code == 0
    assert size.stat().st_size <= 4000


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--effort", "1"], "neurocodec restore"),
        (["--target-psnr", "30"], "--target-size"),
        (["--target-msssim", "0.9"], "--target-size"),
        (["--target-ssimulacra2", "50"], "--target-size"),
        (["--model", "visual"], "leave --model"),
    ],
)
def test_what_does_not_go_together(noisy: Path, arguments: list[str], word: str) -> None:
    result = run("compress", "--restore", *arguments, noisy, noisy.with_name("out.nc"))
    assert result.exit_code == 2
    assert word in result.stderr
    assert not noisy.with_name("out.nc").exists()


def test_the_library_refuses_it_too(photograph: Pixels) -> None:
    with pytest.raises(UnusableModelError, match="refinement"):
        api.compress(photograph, model="restore", effort=1)
    with pytest.raises(UnusableModelError, match="restored"):
        api.compress_to(photograph, Target("psnr", 30), model="restore")


def test_encoders_are_trained_and_exported_for_a_shipped_model(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.fromarray(draw("shapes", 200, 200)).save(pictures / "a.png")
    psnr = catalogue.find("psnr")
    settings = Settings("restore", 1, 1, 192)
    train(pictures, tmp_path / "run", settings, device=CPU, start=catalogue.weights_folder() / psnr.file, report=quiet)
    out = tmp_path / "mine.safetensors"
    export([tmp_path / "run"], out, pictures, report=quiet)
    assert out.stat().st_size < 6.2e6
    mine, base = weights.load(str(out), CPU), weights.load("psnr", CPU)
    assert (mine.id, mine.fingerprint, mine.restores) == (base.id, base.fingerprint, True)
    assert mine.codec.networks.g_s is base.codec.networks.g_s
    Image.fromarray(draw("shapes", 100, 90)).save(tmp_path / "a.png")
    assert run("restore", tmp_path / "a.png", tmp_path / "b.png", "--model", out).exit_code == 0

    tensors = safetensors.torch.load_file(out)
    stranger = tmp_path / "stranger.safetensors"
    safetensors.torch.save_file(tensors, stranger, {"decoder": "ab" * 32})
    with pytest.raises(WeightsError, match="does not ship"):
        weights.load(str(stranger), CPU)
    lacking = tmp_path / "lacking.safetensors"
    tensors.popitem()
    safetensors.torch.save_file(tensors, lacking, {"decoder": psnr.sha256})
    with pytest.raises(WeightsError, match="not a weights file"):
        weights.load(str(lacking), CPU)

    tiny = weights.load(str(TINY), CPU).codec.config
    train(pictures, tmp_path / "other", settings, device=CPU, start=TINY, config=tiny, report=quiet)
    with pytest.raises(TrainingError, match="no shipped model"):
        export([tmp_path / "other"], tmp_path / "other.safetensors", pictures, report=quiet)
    assert not (tmp_path / "other.safetensors").exists()
    assert_error(run("restore", tmp_path / "a.png", tmp_path / "c.png", *MODEL), "no encoder that restores")
