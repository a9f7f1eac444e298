"""bfloat16 is for processors that have it: the choice is theirs, and never changes what is left as it is."""

from __future__ import annotations

import pytest
import torch

from neurocodec import precision

CPU = torch.device("cpu")


def test_it_follows_what_the_processor_has(monkeypatch: pytest.MonkeyPatch) -> None:
    a = torch.ones(4, 4)
    for has, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda has=has: has, raising=False)
        assert precision.has_bfloat16(CPU) is has
        with precision.autocast(CPU):
            assert (a @ a).dtype == dtype
        with precision.autocast(CPU, enabled=False):
            assert (a @ a).dtype == torch.float32


def test_a_torch_that_does_not_tell_stays_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    assert not precision.has_bfloat16(CPU)
