"""The codec end to end, on the tiny model: what is decoded is what was coded, to the bit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from neurocodec import api, container, fields, metrics, model, precision, predictor, weights
from neurocodec.entropy import Decoder
from neurocodec.errors import FormatError, WeightsError
from neurocodec.fixedpoint import ONE, UNIT, make_exact
from neurocodec.model import Codec, whole
from neurocodec.networks import Config, Networks
from neurocodec.predictor import HyperPredictor
from neurocodec.prior import TABLES, Halves, mask_1, whole_and_phase
from neurocodec.quantization import dequantize, hyper_symbols, in_pairs
from neurocodec.tables import Tables
from neurocodec.training.rounding import to_integers
from tests.drawing import draw
from tests.golden.make import CASES, TINY, latent_hash

MODEL = str(TINY)


class Recorder:
    """Keeps the symbols that an encoder pushes."""

    def __init__(self) -> None:
        self.pushed: list[NDArray[np.int32]] = []

    def push(self, symbols: NDArray[np.int32], table: NDArray[Any], tables: Tables) -> None:
        self.pushed.append(symbols.copy())


def latents_of(data: bytes, loaded: weights.LoadedModel, window: int = 24) -> Tensor:
    c = container.unpack(data)
    codec = Codec(loaded.codec.networks, loaded.codec.y_tables, loaded.codec.z_tables, window)
    return codec.decode_latents(c.latents, c.height, c.width, loaded.position(c.quality))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    st.sampled_from(["noise", "flat", "gradient", "shapes"]),
    st.integers(1, 150),
    st.integers(1, 150),
    st.integers(100, 10000),
    st.booleans(),
)
def test_round_trip(kind: str, height: int, width: int, hundredths: int, grey: bool) -> None:
    pixels = draw(kind, height, width, seed=hundredths)
    picture = pixels[:, :, 0] if grey else pixels
    data = api.compress(picture, hundredths / 100, MODEL)
    decoded = api.decompress(data, MODEL)
    assert decoded.pixels.shape == pixels.shape
    assert decoded.pixels.dtype == np.uint8
    assert decoded.grey == grey
    if grey:
        assert (decoded.pixels == decoded.pixels[:, :, :1]).all()
    assert fields.info(data).quality == hundredths / 100
    if kind == "flat":
        assert metrics.psnr(decoded.pixels, np.repeat(picture[..., None], 3, 2) if grey else picture) > 20


def test_decoder_reads_the_symbols_that_the_encoder_wrote(tiny: weights.LoadedModel) -> None:
    pixels = torch.from_numpy(draw("shapes", 200, 260))
    recorder = Recorder()
    tiny.codec.push_latents(pixels, 300, recorder)
    y_hat = tiny.codec.decode_latents(tiny.codec.compress(pixels, 300), 200, 260, 300)
    with torch.inference_mode():
        z_symbols = hyper_symbols(tiny.codec.hyper_analyse(tiny.codec.analyse(pixels, 300), 300))
    predictor = tiny.codec.predictor(z_symbols, 300)
    rebuilt = torch.zeros_like(y_hat)
    halves = Halves(16, 20, y_hat.shape[3], y_hat.device)
    for step in (1, 2):
        with torch.inference_mode():
            mean, table = predictor.predict(step, whole((4, 5)), rebuilt)
        table = in_pairs(table, 300, tiny.codec.y_tables)
        assert 0 < int((table >= TABLES).sum()) < table.numel()
        symbols = torch.from_numpy(recorder.pushed[step - 3]).view(mean.shape)
        halves.put(step, rebuilt, dequantize(symbols, table, tiny.codec.y_tables) + mean)
    assert torch.equal(y_hat, rebuilt)


def test_what_is_decided_on_is_what_files_hold(tiny: weights.LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """z and the elements of step 1 stay, whatever becomes of the others; also where there are several blocks."""
    monkeypatch.setattr(model, "BLOCK", 2)
    codec, position = tiny.codec, 300
    with torch.inference_mode():
        y = 3 * codec.analyse(torch.from_numpy(draw("shapes", 200, 260)), position)
        z = codec.hyper_analyse(y, position)
        first = mask_1(y)
    decided, whole_z = y.clone(), z.clone()
    codec.decide(decided, whole_z, position)
    assert torch.equal(whole_z, z.round())
    assert torch.equal(decided[:, ~first], y[:, ~first])
    assert torch.equal(codec.encode_latents(y, z, position)[1][:, first], decided[:, first] * ONE)
    moved = torch.where(first, decided, decided + torch.randn(y.shape, generator=torch.Generator().manual_seed(0)))
    data, y_hat = codec.encode_latents(moved, whole_z, position, decided=True)
    assert torch.equal(codec.decode_latents(data, 200, 260, position).float(), y_hat)
    assert torch.equal(y_hat[:, first], decided[:, first] * ONE)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 5), (6, 1), (5, 7)])
def test_hyper_latents_are_predicted_from_those_before_them(tiny: weights.LoadedModel, height: int, width: int) -> None:
    """Any symbols come back, front by front, and the codec predicts what the network does."""
    codec, generator = tiny.codec, torch.Generator().manual_seed(0)
    shape = (1, height, width, codec.config.hyper_latents)
    z = torch.randint(-90, 91, shape, generator=generator, dtype=torch.int32)
    y = torch.zeros(1, 4 * height, 4 * width, codec.config.latents)
    data, _ = codec.encode_latents(y, z.float(), 4321)
    with torch.inference_mode():
        assert torch.equal(codec._pull_z(Decoder(data), shape, 4321), z)
        hyper = HyperPredictor(codec.hyper_layers, height, width, shape[3], codec.t(4321))
        assert sorted(hyper.order.tolist()) == list(range(height * width))
        hyper.put(slice(None), z.view(-1, shape[3]).numpy()[hyper.order])
        nearest, table = hyper.predict(slice(None))
        mean, number = codec.networks.hyper_context(z.float() * UNIT, codec.t(4321), UNIT)
    whole, phase = whole_and_phase(mean / ONE)
    np.testing.assert_array_equal(whole.view(-1, shape[3])[hyper.order], nearest)
    np.testing.assert_array_equal((phase.floor() * TABLES + number).view(-1, shape[3])[hyper.order], table)


@pytest.mark.parametrize("reach", [2, 500])
def test_how_many_fronts_an_encoder_takes_at_a_time_changes_nothing(
    tiny: weights.LoadedModel, monkeypatch: pytest.MonkeyPatch, reach: int
) -> None:
    """With and without escapes, whose values come behind their front."""
    z = torch.randn(1, 9, 11, tiny.codec.config.hyper_latents, generator=torch.Generator().manual_seed(1)) * reach
    y = torch.zeros(1, 36, 44, tiny.codec.config.latents)
    at_once, _ = tiny.codec.encode_latents(y, z, 4321)
    monkeypatch.setattr(predictor, "TOGETHER", 7)
    assert tiny.codec.encode_latents(y, z, 4321)[0] == at_once


def test_a_mean_is_a_symbol_and_a_phase() -> None:
    whole, phase = whole_and_phase(torch.tensor([-0.5, -0.49, 0.0, 0.49, 0.5, 1.6, 99.0, -99.0]))
    assert whole.tolist() == [0, 0, 0, 0, 1, 2, 99, -99]
    assert phase[:5].tolist() == pytest.approx([0, 0.08, 4, 7.92, 0])


def test_large_pictures_are_coded_block_by_block(
    tiny: weights.LoadedModel, plain: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of 2 x 2 units stand for those of 32 x 32: other bytes of about the same number, the same latents; on a
    trellis, which starts anew in each block, what the encoder had."""
    pixels, position = torch.from_numpy(draw("shapes", 300, 420)), 5000
    whole = plain.compress(pixels, position)
    wanted = plain.decode_latents(whole, 300, 420, position)
    monkeypatch.setattr(model, "BLOCK", 2)
    blocks, recorder = plain.compress(pixels, position), Recorder()
    y_hat = tiny.codec.push_latents(pixels, position, recorder)
    assert len(recorder.pushed) == 1 + 2 * 3 * 4
    assert abs(len(blocks) - len(whole)) <= 8
    assert blocks != whole
    assert torch.equal(plain.decode_latents(blocks, 300, 420, position), wanted)
    on_trellis = tiny.codec.decode_latents(tiny.codec.compress(pixels, position), 300, 420, position)
    assert torch.equal(on_trellis.float(), y_hat)
    assert not torch.equal(on_trellis, wanted)


@pytest.mark.parametrize("seed", range(3))
def test_random_latents_are_equal_over_windows_threads_and_layouts(tiny: weights.LoadedModel, seed: int) -> None:
    """The exact path, fed with latents no encoder would choose."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randint(-40, 41, (1, 5, 7, tiny.codec.config.hyper_latents), generator=generator, dtype=torch.int32)
    y = torch.randint(-9000, 9001, (1, 20, 28, tiny.codec.config.latents), generator=generator, dtype=torch.int32)

    def run(z: Tensor, y: Tensor, window: int, threads: int) -> list[Tensor]:
        codec = Codec(tiny.codec.networks, tiny.codec.y_tables, tiny.codec.z_tables, window)
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            with torch.inference_mode():
                predictor, area = codec.predictor(z, 4321), whole((5, 7))
                return [predictor.psi(area), *predictor.predict(1, area, y), *predictor.predict(2, area, y)]
        finally:
            torch.set_num_threads(before)

    wanted = run(z, y, 24, 1)
    strided = z.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    for got in (run(z, y, 24, 2), run(z, y, 1, 1), run(z, y, 2, 2), run(z, y, 3, 1), run(strided, y, 5, 2)):
        for a, b in zip(wanted, got, strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("window", [1, 2, 3])
def test_windows_change_no_latent_and_no_pixel_by_more_than_a_level(tiny: weights.LoadedModel, window: int) -> None:
    pixels = draw("shapes", 300, 420)
    data = api.compress(pixels, 80, MODEL)
    assert torch.equal(latents_of(data, tiny, window), latents_of(data, tiny))
    c = container.unpack(data)
    codec = Codec(tiny.codec.networks, tiny.codec.y_tables, tiny.codec.z_tables, window)
    small = codec.decompress(c.latents, 300, 420, tiny.position(c.quality)).int()
    whole = tiny.codec.decompress(c.latents, 300, 420, tiny.position(c.quality)).int()
    assert (small - whole).abs().max() <= 1
    other = codec.compress(torch.from_numpy(pixels), tiny.position(c.quality))
    assert abs(len(other) - len(c.latents)) <= 8  # analysis is float: a rounding may fall otherwise


@pytest.mark.parametrize("kernels", [(3, 5), (5, 3), (9, 1)])
def test_halos_are_as_wide_as_transforms_look(
    tiny: weights.LoadedModel, kernels: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: False)
    torch.manual_seed(0)
    networks = Networks(Config(24, 32, 32, 16, 8, 24, (2, 1), (1, 2), 3, kernels))
    for name, parameter in networks.named_parameters():
        if name.endswith(("look.1.weight", "look.2.weight")):  # neighbours count as much as the middle
            parameter.data.normal_(0, 0.5)
    for prior in (networks.hyper_context, networks.h_s, networks.context):
        make_exact(prior, to_integers(prior))
    narrow, wide = (Codec(networks, tiny.codec.y_tables, tiny.codec.z_tables, window) for window in (1, 24))
    pixels, y_hat = torch.from_numpy(draw("noise", 384, 448)), torch.randint(-900, 900, (1, 24, 28, 32))

    def differences() -> tuple[float, float]:
        y, y_whole = (codec.analyse(pixels, 4096) for codec in (narrow, wide))
        x, x_whole = (codec.synthesise(y_hat, 384, 448, 4096).float() for codec in (narrow, wide))
        return float((y - y_whole).abs().max() / y_whole.abs().max()), float((x - x_whole).abs().max())

    of_y, of_x = differences()
    assert of_y < 1e-5
    assert of_x <= 1
    narrow.g_a_halo = narrow.g_s_halo = 0
    of_y, of_x = differences()
    assert of_y > 1e-3
    assert of_x > 10


@pytest.fixture
def hurried() -> Iterator[None]:
    """A program that asks torch for fast products, and calls us under autocast."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    with torch.autocast("cpu", torch.bfloat16):
        yield
    torch.set_float32_matmul_precision(before)


def test_what_a_program_asks_of_torch_changes_no_latent(
    tiny: weights.LoadedModel, request: pytest.FixtureRequest
) -> None:
    data = api.compress(draw("shapes", 300, 420), 80, MODEL, "cpu")
    wanted = latents_of(data, tiny)
    request.getfixturevalue("hurried")
    assert torch.equal(latents_of(data, tiny), wanted)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU to compare with")
def test_gpu_decodes_the_same_latents(tiny: weights.LoadedModel) -> None:
    gpu = weights.load(MODEL, torch.device("cuda"))
    data = api.compress(draw("shapes", 300, 420), 80, MODEL, "cpu")
    assert torch.equal(latents_of(data, gpu).cpu(), latents_of(data, tiny))


def test_golden_files_hold_for_ever(golden: Path, tiny: weights.LoadedModel) -> None:
    hashes = json.loads((golden / "latents.json").read_text())
    assert len(hashes) == len(CASES)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for name, wanted in hashes.items():
            assert latent_hash((golden / name).read_bytes(), tiny) == wanted, name


def test_golden_files_look_like_their_pictures(golden: Path) -> None:
    for name, (kind, height, width, quality, grey) in zip(
        json.loads((golden / "latents.json").read_text()), CASES, strict=True
    ):
        picture = api.decompress((golden / name).read_bytes(), MODEL)
        assert (picture.height, picture.width, picture.grey) == (height, width, grey)
        original = draw(kind, height, width, seed=7)
        if kind == "shapes" and quality > 50:
            wanted = np.repeat(original[:, :, :1], 3, 2) if grey else original
            assert metrics.psnr(picture.pixels, wanted) > 18


def test_random_damage_behind_a_repaired_checksum_never_escapes_our_errors(golden: Path) -> None:
    data = (golden / "shapes-200x150-q75-grey.nc").read_bytes()
    c = container.unpack(data)
    rng = np.random.default_rng(0)
    for _ in range(60):
        latents = bytearray(c.latents)
        for _ in range(rng.integers(1, 5)):
            latents[rng.integers(len(latents))] = rng.integers(256)
        keep = len(latents) if rng.random() < 0.5 else int(rng.integers(len(latents)))
        broken = container.Container(**{**vars(c), "latents": bytes(latents[:keep])})
        try:
            assert api.decompress(container.pack(broken), MODEL).width == 200
        except FormatError:
            continue


def test_private_model_is_recognised(tmp_path: Path, golden: Path) -> None:
    data = (golden / "shapes-1x1-q50.nc").read_bytes()
    with pytest.raises(WeightsError, match="name its file with --model"):
        api.decompress(data)
    other = tmp_path / "other.safetensors"
    loaded = TINY.read_bytes()
    other.write_bytes(loaded[:-2] + bytes([loaded[-2] ^ 1]) + loaded[-1:])
    with pytest.raises(WeightsError):
        api.decompress(data, str(other))


@pytest.mark.parametrize("quality", [0.99, 100.01, float("nan"), float("inf")])
def test_quality_out_of_range(quality: float) -> None:
    with pytest.raises(ValueError, match="number from 1 to 100"):
        api.compress(draw("flat", 8, 8), quality, MODEL)
