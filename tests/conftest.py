"""What several test modules share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from neurocodec import weights
from tests.golden.make import TINY


@pytest.fixture(scope="session")
def tiny() -> weights.LoadedModel:
    """The tiny model of the golden files, on the CPU."""
    return weights.load(str(TINY), torch.device("cpu"))


@pytest.fixture(scope="session")
def golden() -> Path:
    return TINY.parent
