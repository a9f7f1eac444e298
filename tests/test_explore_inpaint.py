"""Inpainting: what is visible stays to the bit, what is hidden beats OpenCV's, and bad masks are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage
import torch
from PIL import Image, ImageCms

from benchmarks import holes
from benchmarks import inpainting as benchmark
from neurocodec import images, weights
from neurocodec.explore import fill, inpaint, turns
from neurocodec.explore.inpaint import Way
from neurocodec.images import Picture
from neurocodec.windows import silent
from tests.commands import MODEL, assert_error, opened, run
from tests.drawing import draw

QUICK = ["--steps", "3"]


def test_harmonic_fills_are_harmonic() -> None:
    """Known values stay; every other is the mean of its neighbours; planes are found again."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:50, :70]
    plane = torch.from_numpy(np.stack([0.01 * x + 0.002 * y, 0.3 - 0.004 * y], 2))
    known = torch.from_numpy(rng.random((50, 70)) < 0.2)
    known[[0, -1]] = known[:, [0, -1]] = True
    torch.testing.assert_close(fill.harmonic(plane, known), plane, atol=1e-4, rtol=0)
    noise = torch.from_numpy(rng.random((33, 45, 3)))
    known = torch.from_numpy(rng.random((33, 45)) < 0.3)
    filled = fill.harmonic(noise, known)
    assert torch.equal(filled[known], noise[known])
    padded = np.pad(filled.numpy(), ((1, 1), (1, 1), (0, 0)), mode="edge")
    means = (padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]) / 4
    np.testing.assert_allclose(filled.numpy()[~known], means[~known], atol=1e-3)
    one = torch.zeros(9, 5, dtype=torch.bool)
    one[3, 2] = True
    values = torch.rand(9, 5, 3)
    torch.testing.assert_close(fill.harmonic(values, one), values[3, 2].expand(9, 5, 3), atol=1e-3, rtol=0)


def test_turns_have_inverses() -> None:
    x = torch.rand(5, 7, 3)
    turned = [turns.turn(x, way) for way in range(turns.TURNS)]
    assert len({t.shape[0] * 1000 + float(t[0, 0, 0]) for t in turned}) > 4
    for way, t in enumerate(turned):
        assert torch.equal(turns.turn_back(t, way), x)


def test_mixtures_are_the_best_there_are() -> None:
    """Opposite errors cancel, a useless way gets nothing, and without held pixels all weigh the same."""
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 5000, generator=generator)
    assert inpaint.mixture(torch.stack([a, -a])) == [0.5, 0.5]
    assert inpaint.mixture(torch.stack([0.1 * a, 2 * b])) == [1.0, 0.0]
    assert inpaint.mixture(torch.stack([a, b, 9 * a])) == [0.5, 0.5, 0.0]
    assert inpaint.mixture(torch.zeros(2, 0)) == [0.5, 0.5]
    assert inpaint.mixture(a[None]) == [1.0]


def test_sigma_follows_errors_within_reason() -> None:
    assert inpaint.sigma_of(torch.full((10, 3), 10 / 255)) == pytest.approx(12)
    assert inpaint.sigma_of(torch.ones(10, 3)) == inpaint.SIGMAS[1]
    assert inpaint.sigma_of(torch.zeros(0, 3)) == inpaint.SIGMAS[0]


@pytest.mark.parametrize("method", inpaint.METHODS)
def test_visible_pixels_stay(tiny: weights.LoadedModel, method: str) -> None:
    pixels = draw("shapes", 150, 210)
    pixels.flags.writeable = False
    hidden = holes.draw("text", 150, 210, 1)
    way = Way(method, steps=4)
    filled = inpaint.inpaint(tiny, Picture(pixels), hidden, way, silent)
    np.testing.assert_array_equal(filled[~hidden], pixels[~hidden])
    assert (filled[hidden] != pixels[hidden]).any()
    np.testing.assert_array_equal(inpaint.inpaint(tiny, Picture(pixels), hidden, way, silent), filled)
    # What was hidden has no part in it.
    other = np.where(hidden[:, :, None], np.uint8(255) - pixels, pixels)
    np.testing.assert_array_equal(inpaint.inpaint(tiny, Picture(other), hidden, way, silent), filled)


def test_seeds_decide(tiny: weights.LoadedModel) -> None:
    picture, hidden = Picture(draw("shapes", 90, 70)), holes.draw("random 50 %", 90, 70, 0)
    a, b = (inpaint.inpaint(tiny, picture, hidden, Way("project", steps=3, seed=s), silent) for s in (0, 1))
    assert (a != b).any()


def test_windows_join(tiny: weights.LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hole across windows: all of it is filled, and where windows meet there is no step."""
    y, x = np.mgrid[:200, :260]
    pixels = np.stack([x // 2 + 40, y // 2 + 60, (x + y) // 4], 2).astype(np.uint8)
    hidden = np.zeros((200, 260), bool)
    hidden[20:180, 100:160] = True  # windows meet at 64, 128 and 192
    damaged = np.where(hidden[:, :, None], np.uint8(0), pixels)
    monkeypatch.setattr(inpaint, "WINDOW", 1)
    monkeypatch.setattr(inpaint, "HALO", 1)
    areas = list(inpaint.holes(hidden, ~hidden))
    covered = np.zeros((200, 260), int)
    for inner, _ in areas:
        covered[inner] += hidden[inner]
    np.testing.assert_array_equal(covered, hidden)
    filled = inpaint.inpaint(tiny, Picture(damaged), hidden, Way("project", steps=3), silent).astype(int)
    np.testing.assert_array_equal(filled[~hidden], pixels[~hidden])
    steps = np.abs(np.diff(filled, axis=1))
    rim = (
        np.abs(filled[20:180, 100] - filled[20:180, 99]).mean(),
        np.abs(filled[20:180, 160] - filled[20:180, 159]).mean(),
    )
    assert max(rim) < 8  # the rim of the hole
    assert steps[20:180, 127].mean() < 3 * steps[20:180, 110:150].mean() + 1  # where windows meet


@pytest.mark.slow
def test_a_hole_wider_than_a_window_and_its_halo(tiny: weights.LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inpaint, "WINDOW", 1)
    monkeypatch.setattr(inpaint, "HALO", 1)
    pixels, hidden = draw("flat", 64, 700), np.ones((64, 700), bool)
    hidden[:, :3] = False
    filled = inpaint.inpaint(tiny, Picture(pixels), hidden, Way("project", steps=1), silent)
    assert np.abs(filled[:, :64].astype(int) - pixels[0, 0]).mean() < 40


@pytest.mark.parametrize(
    "kind", ["text", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("random 30 %", "scratches"))]
)
def test_it_beats_opencv(kind: str) -> None:
    with Image.open(Path(skimage.__file__).parent / "data" / "chelsea.png") as image:
        pixels = np.asarray(image.resize((226, 150), Image.Resampling.BOX))[:, 30:190].copy()
    hidden = holes.draw(kind, pixels.shape[0], pixels.shape[1], 2)
    ways = benchmark.fillers("psnr", 20, methods=False)
    errors = {
        name: float(((way(pixels, hidden)[hidden].astype(float) - pixels[hidden]) ** 2).sum())
        for name, way in ways.items()
    }
    ours = errors.pop("neurocodec inpaint")
    assert ours < 0.9 * min(errors.values())


def test_everything_else_is_kept(tmp_path: Path) -> None:
    """Alpha, greys, profile, EXIF and XMP; the colours of what is transparent too."""
    pixels = np.concatenate([draw("shapes", 50, 40), draw("gradient", 50, 40)[:, :, :1]], 2)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010F] = "Acme"
    Image.fromarray(pixels).save(tmp_path / "a.png", icc_profile=profile, exif=exif)
    hidden = np.zeros((50, 40), np.uint8)
    hidden[10:20, 5:30], hidden[30:, 20:] = 128, 127
    Image.fromarray(hidden).save(tmp_path / "m.png")
    result = run("inpaint", tmp_path / "a.png", tmp_path / "m.png", tmp_path / "b.webp", *QUICK, *MODEL, "--json")
    assert result.exit_code == 0, result.output
    assert '"hidden": 250' in result.stdout
    back = opened(tmp_path / "b.webp")
    assert back.mode == "RGBA"
    assert (back.info["icc_profile"], back.getexif()[0x010F]) == (profile, "Acme")
    shown = images.read((tmp_path / "b.webp").read_bytes(), 10**6)
    assert shown.alpha is not None
    np.testing.assert_array_equal(shown.alpha, pixels[:, :, 3])
    visible = (hidden < 128) & (pixels[:, :, 3] > 0)
    np.testing.assert_array_equal(shown.pixels[visible], pixels[:, :, :3][visible])

    Image.fromarray(pixels[:, :, 0]).save(tmp_path / "g.png")
    result = run("inpaint", tmp_path / "g.png", tmp_path / "m.png", tmp_path / "h.jpg", *QUICK, *MODEL)
    assert "losses of its own" in result.stderr
    assert opened(tmp_path / "h.jpg").mode == "L"


def test_tiny_pictures(tmp_path: Path) -> None:
    Image.fromarray(draw("flat", 1, 2)).save(tmp_path / "a.png")
    Image.fromarray(np.array([[255, 0]], np.uint8)).save(tmp_path / "m.png")
    assert run("inpaint", tmp_path / "a.png", tmp_path / "m.png", tmp_path / "b.png", *QUICK, *MODEL).exit_code == 0
    np.testing.assert_array_equal(np.asarray(opened(tmp_path / "b.png"))[0, 1], draw("flat", 1, 2)[0, 1])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["in.png", "small.png", "x.png"], ["small.png", "10x10", "90x70", "same size"]),
        (["in.png", "black.png", "x.png"], ["black.png", "hides nothing", "white"]),
        (["in.png", "white.png", "x.png"], ["white.png", "hides everything"]),
        (["clear.png", "half.png", "x.png"], ["half.png", "hides everything"]),
        (["in.png", "glass.png", "x.png"], ["glass.png", "transparent"]),
        (["in.png", "text.png", "x.png"], ["text.png", "not a picture"]),
        (["in.png", "none.png", "x.png"], ["none.png", "No such file"]),
        (["in.png", "half.png", "x.xyz"], [".xyz", ".png"]),
        (["in.png", "half.png", "black.png"], ["black.png exists", "--force"]),
        (["in.png", "half.png", "half.png", "--force"], ["itself"]),
        (["clear.png", "half.png", "x.jpg"], ["x.jpg", "cannot hold its transparency"]),
        (["in.png", "half.png", "x.png", "--max-pixels", "9"], ["limit of 9"]),
    ],
)
def test_bad_input(tmp_path: Path, arguments: list[str], words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(draw("shapes", 70, 90)).save("in.png")
    half = np.zeros((70, 90), np.uint8)
    half[:, :45] = 255
    masks = {"black": half * 0, "white": half * 0 + 255, "half": half, "small": half[:10, :10]}
    for name, mask in masks.items():
        Image.fromarray(mask).save(f"{name}.png")
    Image.merge("LA", [Image.fromarray(half), Image.fromarray(half)]).save("glass.png")
    Image.merge("LA", [Image.fromarray(half), Image.fromarray(half)]).save("clear.png")
    Path("text.png").write_text("hello")
    before = {p: p.read_bytes() for p in Path().iterdir()}
    assert_error(run("inpaint", *arguments, *QUICK, *MODEL), *words)
    assert {p: p.read_bytes() for p in Path().iterdir()} == before


def test_masks_are_what_they_say() -> None:
    """Each kind, in size and share; the same seed draws the same."""
    for kind in holes.KINDS:
        mask = holes.draw(kind, 256, 384, 3)
        assert mask.shape == (256, 384)
        np.testing.assert_array_equal(mask, holes.draw(kind, 256, 384, 3))
        assert (mask != holes.draw(kind, 256, 384, 4)).any()
        share = mask.mean()
        expected = int(kind.split()[1]) / 100 if kind.startswith("random") else 0.1
        assert abs(share - expected) < (0.01 if kind.startswith("random") else 0.09)
