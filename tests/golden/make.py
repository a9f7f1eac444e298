"""python -m tests.golden.make: the tiny model of the tests, and the golden files it made.

Run once when the format was defined. Running it again replaces the promise that the golden files
hold, so do it only together with a new format version.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch

from neurocodec import api, container, weights
from neurocodec.catalogue import ENCODER_PARTS
from neurocodec.networks import Config
from neurocodec.training.data import random_batch
from neurocodec.training.export import float_tensors, freeze_tables, prior_tensors
from neurocodec.training.init import klt_init
from neurocodec.training.objective import TrainingModel, loss_of
from neurocodec.training.recipe import MSE
from tests.drawing import draw

HERE = Path(__file__).parent
TINY = HERE / "tiny.safetensors"
CONFIG = Config(24, 32, 32, 16, 8, 24, (1, 1), (1, 1), 3, (3, 3))
CASES = [
    ("shapes", 1, 1, 50.0, False),
    ("shapes", 17, 31, 1.0, False),
    ("gradient", 64, 64, 100.0, False),
    ("noise", 65, 3, 12.34, False),
    ("shapes", 150, 200, 75.0, True),
    ("shapes", 300, 190, 90.5, False),
]


def main() -> None:
    """Train the tiny model for a moment, freeze it, and compress the golden pictures with it."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    pictures = [torch.from_numpy(draw(kind, 256, 256, seed)) for kind in ("shapes", "gradient") for seed in range(6)]
    model = TrainingModel(CONFIG)
    klt_init(model.networks, torch.stack(pictures) / 255)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(150):
        x = random_batch(pictures, 4, 128, generator)
        loss, _ = loss_of(model, x, torch.rand(4) * 2, MSE, CONFIG.anchors)
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
    model.eval().requires_grad_(False)
    tensors = float_tensors(model, *ENCODER_PARTS, "g_s") | prior_tensors(model, pictures)
    tensors |= freeze_tables(model, tensors, pictures, lambda line: None)
    weights.write(TINY, CONFIG, tensors, [(100, 0), (5000, 4096), (10000, 8192)], MSE, "tiny, for tests")
    latents = {}
    for kind, height, width, quality, grey in CASES:
        pixels = draw(kind, height, width, seed=7)
        name = f"{kind}-{width}x{height}-q{quality:g}{'-grey' if grey else ''}.nc"
        data = api.compress(pixels[:, :, 0] if grey else pixels, quality, str(TINY), "cpu")
        (HERE / name).write_bytes(data)
        latents[name] = latent_hash(data, weights.load(str(TINY), torch.device("cpu")))
    (HERE / "latents.json").write_text(json.dumps(latents, indent=2) + "\n")


def latent_hash(data: bytes, loaded: weights.LoadedModel) -> str:
    """SHA-256 of a file's decoded latents, as little-endian int32 in (H/16, W/16, M) order."""
    c = container.unpack(data)
    y_hat = loaded.codec.decode_latents(c.latents, c.height, c.width, loaded.position(c.quality))
    return hashlib.sha256(y_hat.numpy().astype("<i4").tobytes()).hexdigest()


if __name__ == "__main__":
    main()
