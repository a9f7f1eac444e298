"""The codecs of the benchmark: what each writes is what its maker would."""

from __future__ import annotations

import importlib
import io
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image, features

from benchmarks import codecs
from benchmarks.codecs.compressai_zoo import cache, unusable
from neurocodec import metrics
from neurocodec.cli import main as neurocodec_command
from tests.drawing import draw

PIXELS = draw("shapes", 170, 200)


@pytest.mark.parametrize("name", [n for n in codecs.names() if n not in codecs.ZOO])
def test_round_trip(name: str) -> None:
    codec = codecs.make(name)
    assert codec.missing() is None
    assert codec.name == name
    assert codec.version()
    low, high = codec.settings[0], codec.settings[-1]
    files = [codec.encode(PIXELS, setting) for setting in (low, high)]
    decoded = [codec.decode(data) for data in files]
    assert all(d.shape == PIXELS.shape and d.dtype == np.uint8 for d in decoded)
    assert len(files[0]) < len(files[1])
    assert 10 < metrics.psnr(PIXELS, decoded[0]) < metrics.psnr(PIXELS, decoded[1])
    assert list(codec.settings) == sorted(codec.settings)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("jpeg", {"optimize": True, "progressive": True}),
        ("jpeg-default", {}),
        ("jpeg-444", {"optimize": True, "progressive": True, "subsampling": "4:4:4"}),
    ],
)
@pytest.mark.parametrize("quality", [5, 50, 95])
def test_jpeg_is_pillows_to_the_byte(name: str, options: dict[str, object], quality: int) -> None:
    by_hand = io.BytesIO()
    Image.fromarray(PIXELS).save(by_hand, "JPEG", quality=quality, **options)
    assert codecs.make(name).encode(PIXELS, quality) == by_hand.getvalue()


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow is built without AVIF")
def test_avif_is_tuned_for_image_quality_by_default() -> None:
    """Check that tune=iq is the default since libavif 1.4, because AVIF's figures are of tune=iq."""
    release = str(features.version("avif")).split(".")
    if (int(release[0]), int(release[1])) < (1, 4):
        pytest.skip(f"libavif {'.'.join(release)} has another default")
    codec = codecs.make("avif")
    files = {}
    for tune in ("iq", "ssim"):
        out = io.BytesIO()
        options = {"quality": 50, "speed": 4, "subsampling": "4:4:4", "max_threads": 1, "advanced": {"tune": tune}}
        Image.fromarray(PIXELS).save(out, "AVIF", **options)
        files[tune] = out.getvalue()
    assert codec.encode(PIXELS, 50) == files["iq"] != files["ssim"]
    assert f"libavif {'.'.join(release)}, " in codec.version()
    assert "aom [enc]:" in codec.version()


@pytest.mark.skipif(find_spec("pyjpegli") is None, reason="pyjpegli is not installed")
def test_jpegli_matches_its_label() -> None:
    """Check that jpegli's files are 4:2:0 and sequential, and differ from those of Pillow's JPEG."""
    codec = codecs.make("jpegli")
    data = codec.encode(PIXELS, 75)
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        assert "progressive" not in image.info
        assert [layer[1:3] for layer in image.layer] == [(2, 2), (1, 1), (1, 1)]  # type: ignore[attr-defined]
    assert data != codecs.make("jpeg").encode(PIXELS, 75)
    assert metrics.psnr(codec.decode(codec.encode(PIXELS[:, ::-1], 75)), PIXELS[:, ::-1]) > 25  # a view with gaps


def test_ours_is_the_commands_to_the_byte(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "x.png")
    arguments = ["compress", str(tmp_path / "x.png"), str(tmp_path / "x.nc"), "--quality", "40"]
    assert CliRunner().invoke(neurocodec_command, arguments).exit_code == 0
    codec = codecs.make("neurocodec-visual")
    assert codec.encode(PIXELS, 40) == (tmp_path / "x.nc").read_bytes()


def test_a_private_model(golden: Path) -> None:
    codec = codecs.make(str(golden / "tiny.safetensors"))
    assert codec.name == "neurocodec-tiny"
    assert codec.missing() is None
    assert codec.decode(codec.encode(PIXELS, 50)).shape == PIXELS.shape
    assert (
        codecs.make("/nowhere.safetensors").missing()
        == "/nowhere.safetensors: the weights cannot be read: No such file or directory."
    )


def test_names() -> None:
    refined = codecs.make("neurocodec-visual-effort-3")
    assert (refined.name, refined.label) == ("neurocodec-visual-effort-3", "neurocodec (visual, effort 3)")
    assert len(set(codecs.names())) == len(codecs.names())
    for unknown in ("gif89", "jpeg-effort-3", "effort-3"):
        with pytest.raises(KeyError):
            codecs.make(unknown)


def test_compressai_without_its_weights_says_why() -> None:
    for name in codecs.ZOO:
        reason = codecs.make(name).missing()
        if reason is None:
            continue  # the weights are here
        assert "not installed" in reason or "no weights are cached" in reason or "does not import" in reason


@pytest.mark.skipif(find_spec("compressai") is None, reason="compressai is not installed")
@pytest.mark.filterwarnings("ignore")
def test_compressai_models_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With weights nobody trained, in a cache of this test's own: the path from cache to pixels is real."""
    zoo = importlib.import_module("compressai.zoo.image")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cache().mkdir(parents=True)
    unusable.cache_clear()
    try:
        url = zoo.model_urls["mbt2018-mean"]["ms-ssim"][2]
        torch.manual_seed(0)
        network = zoo.model_architectures["mbt2018-mean"](128, 192)
        network.update()
        torch.save(network.state_dict(), cache() / url.rsplit("/", 1)[1])
        codec = codecs.make("mbt2018-mean-ms-ssim")
        assert codec.missing() is None
        assert codec.settings == (2,)
        assert codec.decode(codec.encode(PIXELS, 2)).shape == PIXELS.shape
        assert "no weights are cached" in str(codecs.make("mbt2018-mean-mse").missing())
    finally:
        unusable.cache_clear()
