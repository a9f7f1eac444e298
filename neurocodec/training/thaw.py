"""From a weights file back to a model with gradients, so that training can go on without its checkpoint.

The transforms come back as the file holds them, in half precision, and the prior from its integers
(``fixedpoint.load_float``).
"""

from __future__ import annotations

from pathlib import Path

import torch

from neurocodec import catalogue, weights
from neurocodec.fixedpoint import load_float
from neurocodec.training.objective import TrainingModel


def thaw(path: Path) -> TrainingModel:
    """The model in a weights file, float and trainable. Raises WeightsError."""
    codec = weights.load(str(path), torch.device("cpu")).codec
    model = TrainingModel(codec.config)
    for name in ("g_a", "g_s", "h_a"):
        model.networks.get_submodule(name).load_state_dict(codec.networks.get_submodule(name).state_dict())
    for name in catalogue.EXACT_PARTS:
        load_float(model.networks.get_submodule(name), codec.networks.get_submodule(name))
    return model
