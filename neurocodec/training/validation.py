"""Validation: rate and distortion of the float model on held-out pictures, quality by quality."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neurocodec import metrics
from neurocodec.model import pad
from neurocodec.precision import autocast
from neurocodec.training.objective import TrainingModel


@torch.no_grad()
def validate(
    model: TrainingModel, pictures: Sequence[Tensor], positions: Sequence[float] | None = None
) -> list[dict[str, float]]:
    """Means over pictures (H, W, 3) uint8 at quality positions t (default: every anchor).

    Rates are the model's own entropy of rounded latents over the original's pixels; distortions are
    of 8-bit pixels. A row per position: t, bpp, bpp_z, psnr (dB), ms_ssim.
    """
    device = next(model.parameters()).device
    rows = []
    for position in positions or range(model.networks.config.anchors):
        sums = torch.zeros(4, dtype=torch.float64)
        for picture in pictures:
            height, width = picture.shape[:2]
            x = pad(picture.to(device)[None].float() / 255)
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
                ]
            )
        bpp, bpp_z, psnr, ms_ssim = (sums / len(pictures)).tolist()
        rows.append(
            {
                "t": float(position),
                "bpp": round(bpp, 5),
                "bpp_z": round(bpp_z, 5),
                "psnr": round(psnr, 3),
                "ms_ssim": round(ms_ssim, 5),
            }
        )
    return rows
