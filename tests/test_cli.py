"""The command line: through click's runner, and as a real process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageCms

from neurocodec import api
from neurocodec.cli import main
from tests.commands import MODEL, PATIENCE, assert_error, opened, process, run
from tests.drawing import draw
from tests.golden.make import TINY


def test_there_and_back(picture: Path, packed: Path, tmp_path: Path) -> None:
    result = run("decompress", packed, tmp_path / "out.png", *MODEL)
    assert result.exit_code == 0
    assert "120x90" in result.stderr
    assert opened(tmp_path / "out.png").size == (120, 90)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.nc", "in.png", "out.png"]


def test_grey_stays_grey(tmp_path: Path) -> None:
    Image.fromarray(draw("shapes", 50, 40)[:, :, 0]).save(tmp_path / "g.png")
    assert run("compress", tmp_path / "g.png", tmp_path / "g.nc", *MODEL).exit_code == 0
    assert run("decompress", tmp_path / "g.nc", tmp_path / "h.png", *MODEL).exit_code == 0
    assert opened(tmp_path / "h.png").mode == "L"


def test_everything_of_a_picture_comes_back(tmp_path: Path) -> None:
    """Alpha, profile, EXIF and XMP, through both commands; and what --strip and --background leave of them."""
    pixels = np.concatenate([draw("shapes", 50, 40), draw("gradient", 50, 40)[:, :, :1]], 2)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010F] = "Acme"
    Image.fromarray(pixels).save(tmp_path / "a.webp", lossless=True, icc_profile=profile, exif=exif, xmp=b"<xmp/>")
    assert run("compress", tmp_path / "a.webp", tmp_path / "a.nc", *MODEL).exit_code == 0
    assert run("decompress", tmp_path / "a.nc", tmp_path / "b.png", *MODEL).exit_code == 0
    back = opened(tmp_path / "b.png")
    assert back.mode == "RGBA"
    np.testing.assert_array_equal(np.asarray(back)[:, :, 3], pixels[:, :, 3])
    assert (back.info["icc_profile"], back.info["xmp"], back.getexif()[0x010F]) == (profile, b"<xmp/>", "Acme")
    fields = json.loads(run("info", tmp_path / "a.nc", "--json").stdout)
    assert min(fields[name] for name in ("alpha", "icc", "exif", "xmp")) > 0

    assert run("compress", tmp_path / "a.webp", tmp_path / "s.nc", *MODEL, "--strip").exit_code == 0
    fields = json.loads(run("info", tmp_path / "s.nc", "--json").stdout)
    assert [fields[name] for name in ("icc", "exif", "xmp")] == [0, 0, 0]
    few = run("compress", tmp_path / "a.webp", tmp_path / "few.nc", *MODEL, "--alpha-quality", "10")
    assert few.exit_code == 0
    assert json.loads(run("info", tmp_path / "few.nc", "--json").stdout)["alpha"] < fields["alpha"]
    assert run("decompress", tmp_path / "a.nc", tmp_path / "b.jpg", *MODEL, "--background", "white").exit_code == 0
    corner = np.asarray(opened(tmp_path / "b.jpg"))[:, 0]
    assert corner.min() > 245  # alpha is 0 there


def test_frames_become_files(tmp_path: Path) -> None:
    frames = [Image.fromarray(draw("flat", 30, 40, s)) for s in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    result = run("compress", tmp_path / "a.gif", tmp_path / "one.nc", *MODEL)
    assert "first of its 3 frames" in result.stderr
    assert run("compress", "--frames", tmp_path / "a.gif", tmp_path / "out", *MODEL).exit_code == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["000.nc", "001.nc", "002.nc"]
    assert_error(run("compress", "--frames", tmp_path / "a.gif", tmp_path / "out", *MODEL), "000.nc", "--force")
    for made in ("000.nc", "002.nc"):
        (tmp_path / "out" / made).unlink()
    assert_error(run("compress", "--frames", tmp_path / "a.gif", tmp_path / "out", *MODEL), "001.nc", "--force")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["001.nc"]  # nothing before it, either


def test_json_and_quiet(picture: Path, tmp_path: Path) -> None:
    result = run("compress", picture, tmp_path / "a.nc", *MODEL, "--json", "-q", "33.3")
    fields = json.loads(result.stdout)
    assert result.stderr == ""
    assert fields["bytes"] == (tmp_path / "a.nc").stat().st_size
    assert fields["bits_per_pixel"] == fields["bytes"] * 8 / (120 * 90)
    assert json.loads(run("info", tmp_path / "a.nc", "--json").stdout)["quality"] == 33.3
    shown = run("info", tmp_path / "a.nc").stdout
    assert shown.count("\n") == 14
    raw, size = 120 * 90 * 3, fields["bytes"]
    for line in (
        "quality: 33.3 of 100",
        "width: 120 pixels",
        "height: 90 pixels",
        "channels: red, green, blue",
        "alpha: none",
        f"whole file: {size} bytes",
        f"bits per pixel: {size * 8 / (120 * 90):.4f}",
        f"in proportion: {raw / size:.1f} times smaller than its pixels",
    ):
        assert f" {line}\n" in shown
    assert (fields["ratio"], run("info", tmp_path / "a.nc", "--json").stdout.count("\n")) == (raw / size, 1)
    fields = json.loads(run("decompress", tmp_path / "a.nc", tmp_path / "a.png", *MODEL, "--json").stdout)
    assert fields["width"] == 120
    result = run("compress", picture, tmp_path / "b.nc", *MODEL, "--quiet")
    assert result.output == ""


def test_quality_spends_bytes(picture: Path, tmp_path: Path) -> None:
    sizes = []
    for quality in (1, 40, 80, 100):
        assert run("compress", picture, tmp_path / f"{quality}.nc", *MODEL, "-q", quality).exit_code == 0
        sizes.append((tmp_path / f"{quality}.nc").stat().st_size)
    assert sizes == sorted(set(sizes))


@pytest.mark.slow
def test_standard_streams(picture: Path, packed: Path) -> None:
    made = process("compress", "-", "-", *MODEL, stdin=picture.read_bytes())
    assert made.returncode == 0
    assert made.stdout == packed.read_bytes()
    back = process("decompress", "-", "-", *MODEL, stdin=made.stdout)
    assert back.stdout.startswith(b"\x89PNG")
    form = process("decompress", "-", "-", *MODEL, "--format", "ppm", stdin=made.stdout)
    assert form.stdout.startswith(b"P6")


def test_reader_that_goes_away(packed: Path) -> None:
    command = f"{sys.executable} -m neurocodec decompress {packed} - --model {TINY} | head -c 1 >/dev/null"
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=False, timeout=PATIENCE)
    assert b"Traceback" not in done.stderr


def test_effort_that_changes_nothing_is_told(picture: Path, tmp_path: Path) -> None:
    for model, warned in (("visual", True), ("psnr", False)):
        result = run("compress", picture, tmp_path / f"{model}.nc", "--model", model, "--effort", "1")
        assert result.exit_code == 0
        assert ("too small to be refined" in result.stderr) == warned


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compress", "missing.png", "x.nc"], ["missing.png", "No such file"]),
        (["compress", "in.png", "nowhere/x.nc"], ["nowhere", "no such folder"]),
        (["compress", "in.png", "."], ["folder"]),
        (["compress", "text.png", "x.nc"], ["text.png", "not a picture"]),
        (["compress", "alpha.png", "-", "--frames"], ["name a folder"]),
        (["compress", "in.png", "text.png", "--frames"], ["text.png is a file"]),
        (["decompress", "alpha.nc", "x.jpg", *MODEL], ["transparency", "--background"]),
        (["compress", "in.png", "x.nc", "--model", "none.safetensors"], ["none.safetensors"]),
        (["compress", "in.png", "x.nc", "--model", "text.safetensors"], ["not a weights file"]),
        (["compress", "in.png", "x.nc", "--max-pixels", "100"], ["limit of 100"]),
        (["decompress", "in.png", "x.png"], ["not a neurocodec file"]),
        (["decompress", "in.nc", "x.xyz", *MODEL], [".xyz", ".png"]),
        (["decompress", "in.nc", "x", *MODEL], ["without extension"]),
        (["decompress", "in.nc", "x.png"], ["private model"]),
        (["decompress", "in.nc", "x.png", *MODEL, "--max-pixels", "100"], ["limit of 100"]),
        (["compress", "in.nc", "x.nc"], ["a neurocodec file already", "decompress"]),
        (["info", "in.png"], ["in.png", "not a neurocodec file"]),
    ],
)
def test_bad_input(
    picture: Path, packed: Path, arguments: list[str], words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(picture.parent)
    Path("text.png").write_text("hello")
    Path("text.safetensors").write_text("hello, this is not it")
    Image.new("RGBA", (3, 3)).save("alpha.png")
    assert run("compress", "alpha.png", "alpha.nc", *MODEL).exit_code == 0
    before = set(Path().iterdir())
    assert_error(run(*arguments), *words)
    assert set(Path().iterdir()) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["compress", "in.png"],
        ["compress", "in.png", "x.nc", "-q", "0"],
        ["compress", "in.png", "x.nc", "-q", "101"],
        ["compress", "in.png", "x.nc", "-q", "nan"],
        ["compress", "in.png", "x.nc", "-q", "high"],
        ["compress", "in.png", "x.nc", "--device", "tpu"],
        ["compress", "in.png", "x.nc", "--alpha-quality", "101"],
        ["decompress", "in.nc", "x.nc", "--background", "sky"],
        ["compress", "in.png", "x.nc", "--model", "best"],
        ["polish"],
    ],
)
def test_wrong_usage(picture: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(picture.parent)
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Usage:" in result.stderr
    assert not Path("x.nc").exists()


@pytest.mark.parametrize("command", [["info"], ["verify"], ["models"]])
def test_what_decodes_nothing_loads_no_torch(tmp_path: Path, command: list[str]) -> None:
    path = tmp_path / "x.nc"
    path.write_bytes(api.compress(draw("shapes", 40, 40)))
    files = [] if command == ["models"] else [str(path)]
    code = (
        f"import sys; from neurocodec.cli import main; main({command + files}, standalone_mode=False); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, stdout=subprocess.DEVNULL).returncode == 0


def test_help_loads_click_and_nothing_else() -> None:
    """Check which packages help imports, because their imports are most of its time."""
    code = """if True:
        import sys
        before = set(sys.modules)
        from neurocodec.cli import main
        main(["--help"], standalone_mode=False)
        loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
        print(*sorted(loaded - sys.stdlib_module_names - {"__mp_main__"}), file=sys.stderr)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "compress" in done.stdout
    assert done.stderr.split() == ["click", "neurocodec"]


@pytest.mark.parametrize("command", [*main.commands, "bulk compress", "bulk decompress"])
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = run(*command.split(), "--help")
    assert result.exit_code == 0
    assert f"neurocodec {command}" in result.stdout.split("Example:")[1]


def test_models_lists_what_ships() -> None:
    listed = json.loads(run("models", "--json").stdout)
    assert [m["name"] for m in listed][:1] == ["visual"]
    assert "(default)" in run("models").stdout


def test_decoded_pixels_are_those_of_the_library(packed: Path, tmp_path: Path) -> None:
    assert run("decompress", packed, tmp_path / "x.ppm", *MODEL).exit_code == 0
    wanted = api.decompress(packed.read_bytes(), str(TINY)).pixels
    np.testing.assert_array_equal(np.asarray(opened(tmp_path / "x.ppm")), wanted)


def test_a_model_that_is_not_needed(tmp_path: Path) -> None:
    Image.fromarray(draw("shapes", 20, 20)).save(tmp_path / "x.png")
    assert CliRunner().invoke(main, ["compress", str(tmp_path / "x.png"), str(tmp_path / "x.nc")]).exit_code == 0
    result = CliRunner().invoke(
        main, ["decompress", "--model", "nope", str(tmp_path / "x.nc"), str(tmp_path / "y.png")]
    )
    assert (result.exit_code, "leave --model out" in result.output) == (2, True)
    arguments = ["decompress", *MODEL, str(tmp_path / "x.nc"), str(tmp_path / "y.png")]
    assert_error(CliRunner().invoke(main, arguments), "x.nc", "leave --model out")
