"""python -m tests.golden.ship: golden files of the shipped models that have none yet.

Run once when a model lands. What is there is never made again: it is the promise that these files
decode to these latents in every later version that ships the model. Files of models that are no longer
shipped (before the first release, that happens) are removed.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import skimage
import torch
from PIL import Image

from neurocodec import api, catalogue, weights
from tests.drawing import Pixels, draw
from tests.golden.make import latent_hash

SHIPPED = Path(__file__).parent / "shipped"
HASHES = SHIPPED / "latents.json"


def main() -> None:
    """Compress the golden pictures with every model that has no golden files, and note their latents."""
    SHIPPED.mkdir(exist_ok=True)
    hashes = json.loads(HASHES.read_text()) if HASHES.exists() else {}
    shipped = {model.id for model in catalogue.MODELS}
    for name in [n for n in hashes if int(n.split("-")[0]) not in shipped]:
        (SHIPPED / name).unlink()
        del hashes[name]
    for model in catalogue.MODELS:
        if any(name.startswith(f"{model.id}-") for name in hashes):
            continue
        for name, (pixels, quality) in cases().items():
            data = api.compress(pixels, quality, model.name, "cpu")
            file = f"{model.id}-{name}.nc"
            (SHIPPED / file).write_bytes(data)
            hashes[file] = latent_hash(data, weights.load(model.name, torch.device("cpu")))
            print(file, len(data))
    HASHES.write_text(json.dumps(hashes, indent=2) + "\n")


def cases() -> dict[str, tuple[Pixels, float]]:
    """Pictures that the tests draw or that scikit-image ships, and qualities over the whole scale."""
    with Image.open(Path(skimage.__path__[0]) / "data" / "astronaut.png") as image:
        face = np.array(image.convert("RGB"))
    return {
        "shapes-31x17-q1": (draw("shapes", 17, 31, 7), 1.0),
        "astronaut-512x512-q12.34": (face, 12.34),
        "astronaut-200x300-q50": (face[:300, 100:300], 50.0),
        "gradient-130x70-q75": (draw("gradient", 70, 130, 7), 75.0),
        "noise-64x65-q100": (draw("noise", 65, 64, 7), 100.0),
    }


if __name__ == "__main__":
    main()
