"""Validation: rate and distortion of the float model on held-out pictures, quality by quality."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neurocodec import metrics
from neurocodec.model import pad
from neurocodec.precision import autocast
from neurocodec.training.corruption import Corruption
from neurocodec.training.objective import TrainingModel
from neurocodec.training.rounded import RoundedModel

CLEAN = Corruption()
CASES = {"clean": CLEAN, "noise": Corruption(noise=25), "jpeg": Corruption(jpeg=20), "blur": Corruption(blur=1.2)}


@torch.no_grad()
def validate(
    model: TrainingModel | RoundedModel,
    pictures: Sequence[Tensor],
    positions: Sequence[float] | None = None,
    corruption: Corruption = CLEAN,
) -> list[dict[str, float]]:
    """Means over pictures (H, W, 3) uint8 at quality positions t (default: every anchor), of which the encoder
    sees what a corruption leaves of them.

    Rates are the model's own entropy of rounded latents over the original's pixels; distortions are
    of 8-bit pixels. A row per position: t, bpp, bpp_z, psnr (dB), ms_ssim, ssimulacra2 (score).
    """
    device = next(model.parameters()).device
    rows = []
    for position in positions or range(model.networks.config.anchors):
        sums = torch.zeros(5, dtype=torch.float64)
        for i, picture in enumerate(pictures):
            height, width = picture.shape[:2]
            seen = corruption.apply(picture.cpu().float() / 255, torch.Generator().manual_seed(i))
            x = pad(seen[None].to(device))
            t = torch.tensor([float(position)], device=device)
            with autocast(device):
                x_hat, bits_y, bits_z = model(x, t)
            decoded = (x_hat[0, :height, :width].float().clamp(0, 1) * 255).round().byte().cpu().numpy()
            original = picture.cpu().numpy()
            sums += torch.tensor(
                [
                    float(bits_y + bits_z) / (height * width),
                    float(bits_z) / (height * width),
                    metrics.psnr(original, decoded),
                    metrics.ms_ssim(original, decoded),
                    metrics.ssimulacra2(original, decoded),
                ]
            )
        bpp, bpp_z, psnr, ms_ssim, ssimulacra2 = (sums / len(pictures)).tolist()
        rows.append(
            {
                "t": float(position),
                "bpp": round(bpp, 5),
                "bpp_z": round(bpp_z, 5),
                "psnr": round(psnr, 3),
                "ms_ssim": round(ms_ssim, 5),
                "ssimulacra2": round(ssimulacra2, 3),
            }
        )
    return rows


def validate_restoration(
    model: TrainingModel | RoundedModel, pictures: Sequence[Tensor]
) -> list[dict[str, float | str]]:
    """Rate and distortion to the clean pictures at the highest quality, where the encoder sees them clean, with
    noise of standard deviation 25, as JPEG of quality 20, and blurred by 1.2 pixels. A row for each: case, and
    what :func:`validate` gives."""
    top = [model.networks.config.anchors - 1.0]
    return [{"case": name} | validate(model, pictures, top, case)[0] for name, case in CASES.items()]
