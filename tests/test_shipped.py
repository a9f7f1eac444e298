"""The shipped models on real photographs, those that scikit-image carries."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import skimage
import torch
from PIL import Image

from benchmarks.bd_rate import curve
from neurocodec import api, catalogue, container, metrics, weights
from neurocodec.model import Codec
from tests.drawing import Pixels
from tests.golden.make import latent_hash
from tests.golden.ship import HASHES, SHIPPED, cases

MODELS = [m.name for m in catalogue.MODELS]
CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=["coffee.png", pytest.param("astronaut.png", marks=pytest.mark.slow)])
def photograph(request: pytest.FixtureRequest) -> Pixels:
    with Image.open(Path(skimage.__path__[0]) / "data" / request.param) as image:
        return np.array(image.convert("RGB"))


@pytest.mark.parametrize("model", MODELS)
def test_far_smaller_than_jpeg_at_equal_quality(photograph: Pixels, model: str) -> None:
    """Check that files need half of JPEG's size at an equal score, or two thirds at equal PSNR."""
    objective = weights.load(model, CPU).objective
    assert objective is not None
    share = 0.5 if objective.ssimulacra2 else 0.67

    def goodness(decoded: Pixels) -> float:
        if objective.ssimulacra2:
            return metrics.ssimulacra2(photograph, decoded)
        return metrics.psnr(photograph, decoded)

    rates, levels = [], []
    for quality in (10, 30, 50, 70, 90):
        out = io.BytesIO()
        Image.fromarray(photograph).save(out, "JPEG", quality=quality, optimize=True, progressive=True)
        with Image.open(out) as image:
            levels.append(goodness(np.array(image)))
        rates.append(float(len(out.getvalue())))
    data = api.compress(photograph, 50, model)
    decoded = api.decompress(data).pixels
    assert metrics.ms_ssim(photograph, decoded) > 0.93
    assert len(data) < share * curve(rates, levels).rate_at(goodness(decoded))


@pytest.mark.parametrize("model", MODELS)
def test_quality_spends_bytes_and_buys_similarity(photograph: Pixels, model: str) -> None:
    sizes, similarities = [], []
    for quality in (1, 20, 40, 60, 80, 100):
        data = api.compress(photograph, quality, model)
        sizes.append(len(data))
        similarities.append(metrics.ms_ssim(photograph, api.decompress(data).pixels))
    assert sizes == sorted(sizes)
    assert similarities == sorted(similarities)


@pytest.mark.parametrize("model", MODELS)
def test_latents_are_equal_over_threads_and_windows(photograph: Pixels, model: str) -> None:
    loaded = weights.load(model, CPU)
    c = container.unpack(api.compress(photograph[:256, :330], 60, model))
    before = torch.get_num_threads()
    latents = []
    for threads, window in ((1, 24), (2, 24), (1, 1), (2, 3)):
        torch.set_num_threads(threads)
        codec = Codec(loaded.codec.networks, loaded.codec.y_tables, loaded.codec.z_tables, window)
        latents.append(codec.decode_latents(c.latents, c.height, c.width, loaded.position(c.quality)))
    torch.set_num_threads(before)
    assert all(torch.equal(latents[0], other) for other in latents[1:])


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 500), (17, 31), (64, 65)])
def test_small_and_odd_sizes(photograph: Pixels, model: str, height: int, width: int) -> None:
    pixels = photograph[100 : 100 + height, :width]
    decoded = api.decompress(api.compress(pixels, 90, model)).pixels
    assert decoded.shape == pixels.shape
    # MS-SSIM hardly minds a shift of a whole flat picture, which is what a single pixel is to the codec.
    assert metrics.psnr(decoded, pixels) > (20 if height * width == 1 else 24)


@pytest.mark.parametrize("model", MODELS)
def test_patterns_that_no_training_picture_has_get_better_with_quality(model: str) -> None:
    """Where the prior is as wrong as it gets, too: nothing is left out that would be missed."""
    pattern = (np.kron(np.indices((64, 64)).sum(0) % 2, np.ones((2, 2))) * 255).astype(np.uint8)
    pixels = np.repeat(pattern[:, :, None], 3, axis=2)
    found = [metrics.psnr(api.decompress(api.compress(pixels, q, model)).pixels, pixels) for q in (20, 60, 100)]
    assert found[0] + 1 < found[1] < found[2]


def test_golden_files_of_shipped_models_hold_for_ever() -> None:
    """Each was made when its model was frozen, and decodes to the same latents in every version since."""
    hashes = json.loads(HASHES.read_text())
    assert sorted(path.name for path in SHIPPED.glob("*.nc")) == sorted(hashes)
    assert {int(name.split("-")[0]) for name in hashes} == {model.id for model in catalogue.MODELS}
    for name, wanted in hashes.items():
        data = (SHIPPED / name).read_bytes()
        model = container.unpack(data).model_id
        assert model == int(name.split("-")[0])
        assert latent_hash(data, weights.load(catalogue.find_id(model).name, CPU)) == wanted, name
    for name, (pixels, _) in cases().items():
        for shipped in catalogue.MODELS:
            picture = api.decompress((SHIPPED / f"{shipped.id}-{name}.nc").read_bytes())
            assert picture.pixels.shape == pixels.shape
            assert metrics.psnr(picture.pixels, pixels) > (10 if "noise" in name else 20)
