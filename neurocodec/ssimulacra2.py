"""SSIMULACRA 2: a score of how good a decoded picture looks. 100 is the original.

Sneyers 2022, "SSIMULACRA 2" (cloudinary/ssimulacra2). It follows 22,000 mean opinion scores (CID22) better than
MS-SSIM does. A score of 30 is low quality, 50 medium, 70 high and 90 visually lossless. The scores agree with those of
the Python package ``ssimulacra2`` 0.3.0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]

# Positive XYB: linear RGB -> LMS with a bias, cube roots, and an opponent transform.
LINEAR_TO_LMS = np.array(
    [
        [0.30, 1 - 0.078 - 0.30, 0.078],
        [0.23, 1 - 0.078 - 0.23, 0.078],
        [0.24342268924547819, 0.20476744424496821, 1 - 0.24342268924547819 - 0.20476744424496821],
    ]
)
LMS_BIAS = 0.0037930732552754493
LMS_TO_XYB = np.array([[7.0, -7.0, 0.0], [0.5, 0.5, 0.0], [-0.5, -0.5, 1.0]])
_ROOT = np.cbrt(LMS_BIAS)  # offset subtracted from each cube root
XYB_BIAS = np.array([0.42, 0.01 - _ROOT, 0.55])

SIGMA, RADIUS = 1.5, 5  # pixels; the Gaussian window
_gaussian = np.exp(-(np.arange(-RADIUS, RADIUS + 1) ** 2) / (2 * SIGMA**2))
TAPS = _gaussian / _gaussian.sum()
C2 = 0.0009  # stabiliser of the contrast of flat areas

# Weights by plane (X, Y, B), scale (finest first), norm (L1, L4) and map (dissimilarity, artifacts, lost detail).
# fmt: off
WEIGHTS = np.array([
    0.0, 0.0007376606707406586, 0.0, 0.0, 0.0007793481682867309, 0.0,  # X, scale 0
    0.0, 0.0004371155730107379, 0.0, 1.1041726426657346, 0.00066284834129271, 0.00015231632783718752,  # X, scale 1
    0.0, 0.0016406437456599754, 0.0, 1.8422455520539298, 11.441172603757666, 0.0,  # X, scale 2
    0.0007989109436015163, 0.000176816438078653, 0.0, 1.8787594979546387, 10.94906990605142, 0.0,  # X, scale 3
    0.0007289346991508072, 0.9677937080626833, 0.0, 0.00014003424285435884, 0.9981766977854967,
    0.00031949755934435053,  # X, scale 4
    0.0004550992113792063, 0.0, 0.0, 0.0013648766163243398, 0.0, 0.0,  # X, scale 5
    0.0, 0.0, 0.0, 7.466890328078848, 0.0, 17.445833984131262,  # Y, scale 0
    0.0006235601634041466, 0.0, 0.0, 6.683678146179332, 0.00037724407979611296, 1.027889937768264,  # Y, scale 1
    225.20515300849274, 0.0, 0.0, 19.213238186143016, 0.0011401524586618361, 0.001237755635509985,  # Y, scale 2
    176.39317598450694, 0.0, 0.0, 24.43300999870476, 0.28520802612117757, 0.0004485436923833408,  # Y, scale 3
    0.0, 0.0, 0.0, 34.77906344483772, 44.835625328877896, 0.0,  # Y, scale 4
    0.0, 0.0, 0.0, 0.0, 0.0, 0.0,  # Y, scale 5
    0.0, 0.0008680556573291698, 0.0, 0.0, 0.0, 0.0,  # B, scale 0
    0.0, 0.0005313191874358747, 0.0, 0.00016533814161379112, 0.0, 0.0,  # B, scale 1
    0.0, 0.0, 0.0, 0.0004179171803251336, 0.0017290828234722833, 0.0,  # B, scale 2
    0.0020827005846636437, 0.0, 0.0, 8.826982764996862, 23.19243343998926, 0.0,  # B, scale 3
    95.1080498811086, 0.9863978034400682, 0.9834382792465353, 0.0012286405048278493, 171.2667255897307,
    0.9807858872435379,  # B, scale 4
    0.0, 0.0, 0.0, 0.0005130064588990679, 0.0, 0.00010854057858411537,  # B, scale 5
]).reshape(3, 6, 2, 3)
# fmt: on

SCALE_WEIGHT = 0.9562382616834844
CUBIC = (2.326765642916932, -0.020884521182843837, 6.248496625763138e-05)
POWER = 0.6276336467831387

SMALLEST = 8  # pixels; shortest side of a picture, and of its coarsest scale
SCALES = 6  # number of scales of a picture that is large enough
STRIP = 64  # rows measured together; an even number
_levels = np.arange(256) / 255
_curve = np.where(_levels <= 0.04045, _levels / 12.92, ((_levels + 0.055) / 1.055) ** 2.4)
LINEAR = _curve.astype(np.float32)  # linear light of each sRGB level, 0 to 1
_to_lms, _to_xyb, _offset = (v.astype(np.float32) for v in (LINEAR_TO_LMS, LMS_TO_XYB, XYB_BIAS))
_taps: list[float] = TAPS.tolist()  # Python floats, because NumPy's would turn float32 into float64


def ssimulacra2(original: Pixels, decoded: Pixels) -> float:
    """Compute SSIMULACRA 2: 100 for equal pictures, less for worse ones, negative for very bad ones.

    original and decoded are sRGB (H, W, 3). Their order matters, because artifacts and lost detail weigh differently.
    Pictures with a side under 225 pixels have fewer than six scales, as in the reference.
    Needs memory of 7.5 bytes per pixel and 5 kB per column, in addition to the pictures.
    Raises ValueError for pictures of different shapes, and for those with a side under 8 pixels.
    """
    if original.shape != decoded.shape or original.ndim != 3 or original.shape[2] != 3:
        raise ValueError(f"SSIMULACRA 2 needs two pictures (H, W, 3) of one shape: {original.shape}, {decoded.shape}")
    if min(original.shape[:2]) < SMALLEST:
        raise ValueError(f"SSIMULACRA 2 needs sides of at least {SMALLEST} pixels: {original.shape[:2]}")
    sides = [min(original.shape[:2])]
    while len(sides) < SCALES and (sides[-1] + 1) // 2 >= SMALLEST:
        sides.append((sides[-1] + 1) // 2)
    # The reference implementation reads its weights in sequence. With fewer scales, Y and B use weights from earlier.
    weights = WEIGHTS.ravel()[: 18 * len(sides)].reshape(3, len(sides), 2, 3)
    error = 0.0
    pair: Sequence[Pixels | Floats] = (original, decoded)
    for scale in range(len(sides)):
        norms, pair = _measured(pair, weights[:, scale].max(1) > 0)
        error += float((weights[:, scale] * norms).sum())
    error *= SCALE_WEIGHT
    error *= CUBIC[0] + error * (CUBIC[1] + error * CUBIC[2])
    return 100 - 10 * float(max(error, 0.0) ** POWER)


def _measured(pair: Sequence[Pixels | Floats], used: NDArray[np.bool_]) -> tuple[NDArray[np.float64], Sequence[Floats]]:
    """Compute the norms of one scale, (planes, norms, maps), and halve both pictures for the next scale.

    The pair is sRGB (H, W, 3), or linear light (3, H, W). used is (planes, maps). The norms of unused maps are 0.
    """
    height, width = pair[0].shape[:2] if pair[0].dtype == np.uint8 else pair[0].shape[1:]
    halves = [np.empty((3, (height + 1) // 2, (width + 1) // 2), np.float32) for _ in pair]
    sums = np.zeros((3, 2, 3))
    for top in range(0, height, STRIP):
        rows = np.arange(top - RADIUS, min(top + STRIP, height) + RADIUS)
        rows = np.where(rows < 0, -1 - rows, np.where(rows >= height, 2 * height - 1 - rows, rows))
        planes = []
        for picture, half in zip(pair, halves, strict=True):
            light = _strip(picture, rows)
            _halve(light[:, RADIUS:-RADIUS], half[:, top // 2 : (top + STRIP) // 2])
            planes.append(_xyb(light))
        for plane in range(3):
            if used[plane].any():
                sums[plane] += _sums(planes[0][plane], planes[1][plane], used[plane])
    norms = sums / (height * width)
    norms[:, 1] **= 0.25
    return norms, halves


def _strip(picture: Pixels | Floats, rows: NDArray[np.int64]) -> Floats:
    """Return the linear light of these rows, (3, rows, W)."""
    if picture.dtype == np.uint8:
        return np.stack([LINEAR[picture[rows, :, channel]] for channel in range(3)])
    return np.asarray(picture[:, rows], np.float32)


def _halve(light: Floats, half: Floats) -> None:
    """Write the means of 2x2 pixels of light (3, H, W) to half. An odd last row or column counts twice."""
    _, height, width = light.shape
    light = np.pad(light, ((0, 0), (0, height % 2), (0, width % 2)), "edge") if height % 2 or width % 2 else light
    rows = light[:, ::2] + light[:, 1::2]
    np.add(rows[:, :, ::2], rows[:, :, 1::2], out=half)
    half *= 0.25


def _xyb(light: Floats) -> Floats:
    """Convert linear light (3, H, W) to positive XYB, (3, H, W + 10), with RADIUS columns of zeros on each side."""
    _, height, width = light.shape
    lms = _to_lms @ light.reshape(3, -1)
    lms += np.float32(LMS_BIAS)
    np.cbrt(lms, out=lms)
    xyb = np.zeros((3, height, width + 2 * RADIUS), np.float32)
    np.add((_to_xyb @ lms).reshape(light.shape), _offset[:, None, None], out=xyb[:, :, RADIUS:-RADIUS])
    return xyb


def _sums(o: Floats, d: Floats, used: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the sums of each map and of its fourth power, (norms, maps), over one plane of a strip.

    o and d are the original and the decoded plane, with RADIUS extra rows and columns on each side.
    """
    sums = np.zeros((2, 3))
    mean_o, mean_d = _blur(o), _blur(d)
    if used[0]:
        # Equal to 1 - luminance * contrast, but more accurate in float32, because both losses are near 0.
        luminance_lost = (mean_d - mean_o) ** 2
        powers = _blur(o * o + d * d) - mean_o * mean_o - mean_d * mean_d + C2
        contrast_lost = (_blur((d - o) ** 2) - luminance_lost) / powers
        sums[:, 0] = _powers(np.maximum(luminance_lost + (1 - luminance_lost) * contrast_lost, 0))
    if used[1:].any():
        inside = slice(RADIUS, -RADIUS)
        edges = np.abs(o[inside, inside] - mean_o)
        gain = (np.abs(d[inside, inside] - mean_d) - edges) / (1 + edges)
        if used[1]:
            sums[:, 1] = _powers(np.maximum(gain, 0))
        if used[2]:
            sums[:, 2] = _powers(np.maximum(-gain, 0))
    return sums


def _powers(values: Floats) -> tuple[float, float]:
    """Return the sum of a map and the sum of its fourth power. Overwrites the map."""
    total = float(values.sum())
    np.square(values, out=values)
    return total, float(np.square(values, out=values).sum())


def _blur(v: Floats) -> Floats:
    """Apply the Gaussian window, and drop RADIUS rows and columns on each side."""
    height, width = v.shape[0] - 2 * RADIUS, v.shape[1] - 2 * RADIUS
    v = _window([v[:, k : k + width] for k in range(2 * RADIUS + 1)])
    return _window([v[k : k + height] for k in range(2 * RADIUS + 1)])


def _window(shifted: Sequence[Floats]) -> Floats:
    """Sum shifted views with the weights of the window, which is symmetric."""
    total = shifted[RADIUS] * _taps[RADIUS]
    both = np.empty_like(total)
    for k in range(RADIUS):
        np.add(shifted[k], shifted[-1 - k], out=both)
        both *= _taps[k]
        total += both
    return total
