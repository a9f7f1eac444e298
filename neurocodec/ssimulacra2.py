"""SSIMULACRA 2: how good a decoded picture looks, on a scale on which 100 is the original.

Sneyers 2022, "SSIMULACRA 2" (cloudinary/ssimulacra2). It follows 22,000 human scores (CID22) better than MS-SSIM: 30 is
low quality, 50 medium, 70 high, 90 visually lossless. The numbers agree with the Python package ``ssimulacra2`` 0.3.
"""

from __future__ import annotations

import numpy as np

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
_ROOT = np.cbrt(LMS_BIAS)  # is subtracted from each cube root
XYB_BIAS = np.array([0.42, 0.01 - _ROOT, 0.55])

SIGMA, RADIUS = 1.5, 5  # of the Gaussian window, in pixels
_gaussian = np.exp(-(np.arange(-RADIUS, RADIUS + 1) ** 2) / (2 * SIGMA**2))
TAPS = _gaussian / _gaussian.sum()
C2 = 0.0009  # stabilises the contrast of flat areas

# Weights by plane (X, Y, B), scale (finest first), norm (L1, L4) and map (dissimilarity, artifacts, lost detail).
# fmt: off
WEIGHTS = np.array([
    0.0, 0.0007376606707406586, 0.0, 0.0, 0.0007793481682867309, 0.0,  # X, scale 0
    0.0, 0.0004371155730107379, 0.0, 1.1041726426657346, 0.00066284834129271, 0.00015231632783718752,  # X, scale 1
    0.0, 0.0016406437456599754, 0.0, 1.8422455520539298, 11.441172603757666, 0.0,  # X, scale 2
    0.0007989109436015163, 0.000176816438078653, 0.0, 1.8787594979546387, 10.94906990605142, 0.0,  # X, scale 3
    0.0007289346991508072, 0.9677937080626833, 0.0, 0.00014003424285435884, 0.9981766977854967, 0.00031949755934435053,  # X, scale 4
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
    95.1080498811086, 0.9863978034400682, 0.9834382792465353, 0.0012286405048278493, 171.2667255897307, 0.9807858872435379,  # B, scale 4
    0.0, 0.0, 0.0, 0.0005130064588990679, 0.0, 0.00010854057858411537,  # B, scale 5
]).reshape(3, 6, 2, 3)
# fmt: on

SCALE_WEIGHT = 0.9562382616834844
CUBIC = (2.326765642916932, -0.020884521182843837, 6.248496625763138e-05)
POWER = 0.6276336467831387
