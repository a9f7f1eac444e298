"""The exact path: equal to integer arithmetic in any order, on any number of threads."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neurocodec import fixedpoint
from neurocodec.errors import WeightsError
from neurocodec.fixedpoint import (
    EXACT_BITS,
    REACHES,
    SHIFTS,
    UNIT,
    ExactDepthwise,
    ExactJoin,
    ExactPointwise,
    ExactQualityTable,
    check_bound,
    load_float,
    make_exact,
    working_dtype,
)
from neurocodec.layers import Block, Depthwise, Pointwise
from neurocodec.prior import Join, QualityTable
from neurocodec.training.rounding import rounded_part, to_integers

Ints = NDArray[np.int64]
REACH, DTYPES = 11, [torch.float32, torch.float64]


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def random_integers(shape: tuple[int, ...], limit: int, seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(-limit, limit + 1, shape))


def random_layer(shape: tuple[int, ...], seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, biases and shifts, as large as the bound admits: some rows at once, some only with few bits."""
    rng = np.random.default_rng(seed)
    weight = torch.from_numpy(rng.normal(size=shape) * 2.0 ** rng.integers(-8, 5, (shape[0], *[1] * (len(shape) - 1))))
    bias = torch.from_numpy(rng.normal(size=shape[0]) * UNIT)
    integers, biases, shifts = rounded_part(weight.flatten(1), bias, REACH)
    assert int(shifts.min()) >= SHIFTS[0]
    assert len(set(shifts.tolist())) > 2
    return integers.view(shape), biases, shifts


def rounded(v: Ints, shift: Tensor, activation: bool = False) -> Ints:
    """Units of 2**-shift -> whole units: leaky ReLU, round half to even; integers only."""
    bits = shift.numpy().astype(np.int64) + 3 * activation  # eighths first, so that the slope of 1/8 is exact
    scaled = np.where(v > 0, v * 8, v) if activation else v
    floor, rest, half = scaled >> bits, scaled & ((1 << bits) - 1), 1 << (bits - 1)
    up = (rest > half) | ((rest == half) & (floor & 1 == 1))
    whole: Ints = floor + up
    return whole


def clamped(x: Tensor, reach: int = REACH) -> Ints:
    within: Ints = np.clip(x.numpy(), -(1 << reach), 1 << reach)
    return within


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", [False, True])
def test_pointwise_is_integer_arithmetic_in_any_order(threads: int, activation: bool, dtype: torch.dtype) -> None:
    x = random_integers((1, 5, 7, 40), 2 << REACH, 1)
    weight, bias, shift = random_layer((24, 40), 2)
    v: Ints = np.broadcast_to(bias.numpy().astype(np.int64), (1, 5, 7, 24)).copy()
    for i in np.random.default_rng(4).permutation(40):  # a summation order of our own
        v += clamped(x)[..., i, None] * weight.numpy()[:, i]
    exact = ExactPointwise(weight, bias, shift, torch.tensor([REACH]), activation)(x.to(dtype))
    assert exact.dtype == dtype
    np.testing.assert_array_equal(exact.numpy(), rounded(v, shift, activation))


def test_small_values_round_half_to_even(threads: int) -> None:
    x = torch.arange(-40, 41)[None, None, :, None]
    weight, shift = torch.tensor([[4], [2], [1]]), torch.full((3,), 3)  # halves, quarters, eighths
    zero = torch.zeros(3, dtype=torch.int64)
    for activation in (False, True):
        v = x.numpy() * weight.numpy()[:, 0]
        exact = ExactPointwise(weight, zero, shift, torch.tensor([REACH]), activation)(x.float())
        np.testing.assert_array_equal(exact.numpy(), rounded(v, shift, activation))


@pytest.mark.parametrize("dtype", DTYPES)
def test_depthwise_is_integer_arithmetic_in_any_order(threads: int, dtype: torch.dtype) -> None:
    x = random_integers((1, 9, 6, 8), 2 << REACH, 5)
    weight, bias, shift = random_layer((8, 1, 3, 3), 6)
    padded = np.pad(clamped(x), ((0, 0), (1, 1), (1, 1), (0, 0)))
    v: Ints = np.broadcast_to(bias.numpy().astype(np.int64), (1, 9, 6, 8)).copy()
    for tap in np.random.default_rng(8).permutation(9):
        i, j = divmod(int(tap), 3)
        v += padded[:, i : i + 9, j : j + 6] * weight.numpy()[:, 0, i, j]
    exact = ExactDepthwise(weight, bias, shift, torch.tensor([REACH]))(x.to(dtype))
    np.testing.assert_array_equal(exact.numpy(), rounded(v, shift))


@pytest.mark.parametrize("dtype", DTYPES)
def test_joining_latents_is_integer_arithmetic_in_any_order(threads: int, dtype: torch.dtype) -> None:
    psi, y = random_integers((1, 4, 4, 10), 2 << REACH, 1), random_integers((1, 4, 4, 12), 1 << 18, 2)
    weight, bias, shift = random_layer((24, 10), 3)
    (latent_weights, _, latent_shifts) = zip(*(random_layer((24, 6), seed) for seed in (4, 5)), strict=True)
    weights, shifts = torch.cat([weight, *latent_weights], 1), torch.stack([shift, *latent_shifts])
    join = ExactJoin(weights, bias, shifts, torch.tensor([REACH, 12, 10]), 10)
    even, odd = torch.arange(0, 16, 2), torch.arange(1, 16, 2)
    halves = [(even, y.view(16, 12)[even, :6]), (odd, y.view(16, 12)[odd, 6:])]
    wanted = rounded(clamped(psi).reshape(16, 10) @ weight.numpy().T + bias.numpy(), shift)
    for (rows, elements), reach, of, by in zip(halves, (12, 10), latent_weights, latent_shifts, strict=True):
        # An eighth of an element in 2**-8 is one in 2**-5, and four of 2**-7 are one of these.
        seen = np.clip(rounded(elements.numpy(), torch.tensor(3)), -(1 << reach), 1 << reach)
        wanted[rows] += rounded(4 * seen @ of.numpy().T, by)
    got = join(psi.to(dtype), [(rows, half, elements.float()) for half, (rows, elements) in enumerate(halves)])
    np.testing.assert_array_equal(got.numpy().reshape(16, 24), wanted)


def test_memory_layout_does_not_matter() -> None:
    x = random_integers((1, 6, 8, 16), 1 << REACH, 9).float()
    other = x.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    assert other.stride() != x.stride()
    for layer in (
        ExactPointwise(*random_layer((8, 16), 10), torch.tensor([REACH]), True),
        ExactDepthwise(*random_layer((16, 1, 3, 3), 12), torch.tensor([REACH])),
    ):
        assert torch.equal(layer(x), layer(other))


def test_quality_table_interpolates_exactly() -> None:
    table = random_integers((4, 5), 5000, 14)
    layer = ExactQualityTable(table)
    for position in (0, 1, 4095, 4096, 7777, 3 * 4096 - 1, 3 * 4096):
        k = min(position >> 12, 2)
        f = position - (k << 12)
        v = table[k].numpy() * (4096 - f) + table[k + 1].numpy() * f
        t = torch.tensor([position / 4096], dtype=torch.float64)
        np.testing.assert_array_equal(layer(t)[0, 0, 0].numpy(), rounded(v, torch.tensor(12)))


def test_the_bound_is_tight_and_checked() -> None:
    """The largest sum the check admits is exact; one beyond it is refused."""
    layer, bias, shift = Pointwise(3, 1), torch.zeros(1, dtype=torch.int64), torch.full((1, 1), 3)
    largest, reach = 1 << (EXACT_BITS - REACH), torch.tensor([REACH])
    with pytest.raises(WeightsError, match="2\\*\\*24"):
        check_bound("x", layer, torch.tensor([[largest - 1, 1, 0]]), bias, shift, reach)
    weight = torch.tensor([[largest - 3, 1, 1]])
    check_bound("x", layer, weight, bias, shift, reach)
    x = torch.tensor([[1 << REACH, 1, -2]])
    v = int(weight[0, 0]) * (1 << REACH) + 1 - 2
    unrounded = ExactPointwise(weight, bias, shift[0], reach, False, rounds=False)(x.float())
    assert int(unrounded[0, 0] * 8) == v
    for shifts, reaches, name in (
        (shift - 1, reach, "shift"),
        (shift + 10, reach, "shift"),
        (shift, reach + 5, "reach"),
    ):
        with pytest.raises(WeightsError, match=name):
            check_bound("x", layer, weight, bias, shifts, reaches)


def test_a_row_gets_the_largest_shift_that_its_sums_allow() -> None:
    weight = torch.tensor([[0.9, -0.4], [30.0, 1.0], [1e-3, 0.0], [1e4, 0.0]]).double()
    _, _, shifts = rounded_part(weight, torch.zeros(4).double(), REACH)
    assert shifts.tolist() == [12, 8, SHIFTS[-1], -1]
    for row, shift in zip(weight[:2], shifts[:2].tolist(), strict=True):
        more = (row * 2 ** (shift + 1)).round().abs().sum() * (1 << REACH)
        assert shift == SHIFTS[-1] or more >= 1 << EXACT_BITS
    layer = Pointwise(2, 4)
    layer.load_state_dict({"weight": weight, "bias": torch.zeros(4)})
    with pytest.raises(WeightsError, match="too large"):
        to_integers(nn.Sequential(layer))


def test_sums_of_outputs_stay_exact() -> None:
    """The largest outputs that a layer can have, eight of them together, are still integers of float32."""
    outputs = (1 << EXACT_BITS) >> SHIFTS[0]
    assert 8 * outputs <= 1 << EXACT_BITS
    # Of a join the second part counts in units of a quarter: four times as much, and a fourth and fifth output.
    assert (1 + 4 + 1 + 1) * outputs <= 1 << EXACT_BITS
    assert REACHES[-1] < EXACT_BITS - SHIFTS[0]


def test_float32_is_used_where_it_multiplies_as_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    assert working_dtype(cpu) == torch.float32
    assert working_dtype(torch.device("cuda")) == torch.float64
    # Trials whose product a processor that drops bits of its factors would get.
    for bits in (8, 11):  # bfloat16, TF32
        x, weight, _ = fixedpoint._trial()
        step = 2.0 ** (13 - bits)
        hurried = ((x / step).round() * step) @ weight.T
        monkeypatch.setattr(fixedpoint, "_trial", lambda h=hurried, x=x, w=weight: (x, w, h))
        assert working_dtype(cpu) == torch.float64
        monkeypatch.undo()


def test_a_trained_block_is_near_its_float_twin() -> None:
    torch.manual_seed(0)
    block, twin = Block(16), nn.Sequential(Block(16))
    twin[0].load_state_dict(block.state_dict())
    make_exact(twin, to_integers(twin))
    x = torch.randn(1, 6, 6, 16)
    with torch.no_grad():
        assert (twin((x * UNIT).round()) / UNIT - block(x)).abs().max() < 0.05


def test_a_float_twin_rounds_to_the_same_integers() -> None:
    torch.manual_seed(0)
    network = nn.ModuleDict(
        {"p": Pointwise(8, 6), "d": Depthwise(6), "j": Join(8, 6, 4), "q": QualityTable(3, 4), "b": Block(6)}
    )
    for parameter in network.parameters():
        parameter.data.normal_()
    reaches = {"p": [9], "j": [10, 12, 11], "b.mix.1": [14]}
    integers = to_integers(network, reaches)
    assert integers["p.reach"].tolist() == [9]
    assert integers["j.reach"].tolist() == [10, 12, 11]
    exact = nn.ModuleDict({"p": Pointwise(8, 6), "d": Depthwise(6), "j": Join(8, 6, 4), "q": QualityTable(3, 4)})
    exact["b"] = Block(6)
    make_exact(exact, integers)
    load_float(network, exact)
    again = to_integers(network, reaches)
    assert again.keys() == integers.keys()
    for name, value in integers.items():
        assert torch.equal(again[name], value), name


def test_missing_or_misshapen_integers_are_refused() -> None:
    network = nn.Sequential(Block(4))
    integers = to_integers(network)
    del integers["0.mix.0.bias"]
    with pytest.raises(WeightsError, match=r"mix\.0"):
        make_exact(network, integers)
