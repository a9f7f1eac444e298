"""The exact path: equal to integer arithmetic in any order, on any number of threads."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neurocodec.errors import WeightsError
from neurocodec.fixedpoint import (
    ADDS,
    LIMIT,
    ExactDepthwise,
    ExactPointwise,
    ExactQualityTable,
    check_bound,
    make_exact,
    to_integers,
)
from neurocodec.layers import Block
from neurocodec.networks import Config
from neurocodec.prior import Context, HyperSynthesis

Ints = NDArray[np.int64]
REACH = int(ADDS * LIMIT)


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def random_integers(shape: tuple[int, ...], limit: int, seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(-limit, limit + 1, shape))


def to_activation(v: Ints, activation: bool) -> Ints:
    """Units of 2**-20 -> units of 2**-8: leaky ReLU, round half to even, clamp; integers only."""
    shift = 15 if activation else 12  # eighths first, so that the slope of 1/8 is exact
    scaled = np.where(v > 0, v * 8, v) if activation else v
    floor, rest, half = scaled >> shift, scaled & ((1 << shift) - 1), 1 << (shift - 1)
    up = (rest > half) | ((rest == half) & (floor & 1 == 1))
    clipped: Ints = np.clip(floor + up, -int(LIMIT), int(LIMIT))
    return clipped


@pytest.mark.parametrize("activation", [False, True])
def test_pointwise_is_integer_arithmetic_in_any_order(threads: int, activation: bool) -> None:
    x = random_integers((1, 5, 7, 40), REACH, 1)
    weight, bias = random_integers((24, 40), 1 << 15, 2), random_integers((24,), 1 << 22, 3)
    v: Ints = np.broadcast_to(bias.numpy(), (1, 5, 7, 24)).copy()
    for i in np.random.default_rng(4).permutation(40):  # a summation order of our own
        v += x.numpy()[..., i, None] * weight.numpy()[:, i]
    exact = ExactPointwise(weight, bias, activation)(x.double())
    np.testing.assert_array_equal(exact.numpy(), to_activation(v, activation))


def test_small_values_round_half_to_even(threads: int) -> None:
    x = torch.arange(-40, 41)[None, None, :, None]
    weight = torch.tensor([[2048], [1024], [512]])  # halves, quarters, eighths
    zero = torch.zeros(3, dtype=torch.int64)
    for activation in (False, True):
        v = x.numpy() * weight.numpy()[:, 0]
        exact = ExactPointwise(weight, zero, activation)(x.double())
        np.testing.assert_array_equal(exact.numpy(), to_activation(v, activation))


def test_depthwise_is_integer_arithmetic_in_any_order(threads: int) -> None:
    x = random_integers((1, 9, 6, 8), REACH, 5)
    weight, bias = random_integers((8, 1, 3, 3), 1 << 15, 6), random_integers((8,), 1 << 22, 7)
    padded = np.pad(x.numpy(), ((0, 0), (1, 1), (1, 1), (0, 0)))
    v: Ints = np.broadcast_to(bias.numpy(), (1, 9, 6, 8)).copy()
    for tap in np.random.default_rng(8).permutation(9):
        i, j = divmod(int(tap), 3)
        v += padded[:, i : i + 9, j : j + 6] * weight.numpy()[:, 0, i, j]
    exact = ExactDepthwise(weight, bias)(x.double())
    np.testing.assert_array_equal(exact.numpy(), to_activation(v, False))


def test_memory_layout_does_not_matter() -> None:
    x = random_integers((1, 6, 8, 16), REACH, 9).double()
    other = x.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    assert other.stride() != x.stride()
    for layer in (
        ExactPointwise(random_integers((8, 16), 4096, 10), random_integers((8,), 4096, 11), True),
        ExactDepthwise(random_integers((16, 1, 3, 3), 4096, 12), random_integers((16,), 4096, 13)),
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
        np.testing.assert_array_equal(layer(t)[0, 0, 0].numpy(), to_activation(v, False))


def test_the_bound_is_tight_and_checked() -> None:
    """The largest sum the check admits is exact; one beyond it is refused."""
    bias = torch.zeros(1, dtype=torch.int64)
    largest = (1 << 53) // REACH
    with pytest.raises(WeightsError, match="2\\*\\*53"):
        check_bound("x", torch.tensor([[largest, 1]]), bias)
    weight = torch.tensor([[largest - 3, 1, 1]])
    check_bound("x", weight, bias)
    x = torch.tensor([[[[REACH, 1, -2]]]])
    v = int(weight[0, 0]) * REACH + 1 - 2
    unclamped = torch.addmm(torch.zeros(1).double(), x.double().view(1, 3), weight.double().T / 4096)
    assert int(unclamped[0, 0] * 4096) == v


def test_never_more_than_eight_outputs_are_added_up() -> None:
    """What ADDS promises: with every layer at its limit, no input to a layer exceeds ADDS * LIMIT."""
    largest = 0.0

    def watch(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal largest
        largest = max(largest, float(inputs[0].abs().max()))

    config = Config(24, 32, 32, 16, 8, 24, (1, 1), (1, 1), 3)
    h_s = HyperSynthesis(config.hyper_latents, config.hyper_width, config.anchors)
    context = Context(config.latents, config.hyper_width, config.context_width)
    for network in (h_s, context):
        huge = {k: torch.full_like(v, 1 << 26) for k, v in to_integers(network).items()}
        make_exact(network, huge)
        for module in network.modules():
            if isinstance(module, ExactPointwise | ExactDepthwise):
                module.register_forward_pre_hook(watch)
    z = torch.full((1, 2, 2, config.hyper_latents), LIMIT, dtype=torch.float64)
    psi = h_s(z, torch.tensor([1.0], dtype=torch.float64))
    y = torch.full((1, 8, 8, config.latents), LIMIT, dtype=torch.float64)
    context.head_2(context.features_2(psi, y))
    assert LIMIT < largest <= ADDS * LIMIT


def test_a_trained_block_is_near_its_float_twin() -> None:
    torch.manual_seed(0)
    block, twin = Block(16), nn.Sequential(Block(16))
    twin[0].load_state_dict(block.state_dict())
    make_exact(twin, to_integers(twin))
    x = torch.randn(1, 6, 6, 16)
    with torch.no_grad():
        assert (twin((x.double() * 256).round()) / 256 - block(x)).abs().max() < 0.02


def test_missing_or_misshapen_integers_are_refused() -> None:
    network = nn.Sequential(Block(4))
    integers = to_integers(network)
    del integers["0.mix.0.bias"]
    with pytest.raises(WeightsError, match=r"mix\.0"):
        make_exact(network, integers)
