"""What several test modules share."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import safetensors.torch
import torch
from PIL import Image

from neurocodec import weights
from neurocodec.model import Codec
from neurocodec.tables import Tables
from neurocodec.training import rounded
from neurocodec.training.trellised import Means
from tests.commands import MODEL, run
from tests.drawing import draw
from tests.golden.make import TINY

# Hypothesis times its examples by default, and fails if the machine is slow or busy.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def tiny() -> weights.LoadedModel:
    """The tiny model of the golden files, on the CPU."""
    return weights.load(str(TINY), torch.device("cpu"))


@pytest.fixture(scope="session")
def plain(tiny: weights.LoadedModel) -> Codec:
    """Its codec without a trellis, which depends on what is coded together."""
    return Codec(tiny.codec.networks, tiny.codec.y_tables.without_pairs(), tiny.codec.z_tables)


@pytest.fixture(scope="session", autouse=True)
def measured_once() -> Iterator[None]:
    """Measure a trellis once for all training runs on the same tables, because it takes six seconds each time."""
    measured = dict[tuple[bytes, bytes], Means]()

    def means(tables: Tables) -> Means:
        key = tables.frequencies.tobytes(), tables.radius.tobytes()
        if key not in measured:
            measured[key] = Means(tables)
        return copy.deepcopy(measured[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounded, "Means", means)
        yield


@pytest.fixture(scope="session")
def golden() -> Path:
    return TINY.parent


@pytest.fixture(scope="session")
def untold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model in a file that does not say what it was tuned for, as the first ones did not."""
    path = tmp_path_factory.mktemp("untold") / "untold.safetensors"
    with safetensors.safe_open(TINY, "pt") as file:
        metadata = {k: v for k, v in file.metadata().items() if k != "objective"}
    safetensors.torch.save_file(safetensors.torch.load_file(TINY), path, metadata)
    return path


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of five pictures to train on."""
    folder = tmp_path_factory.mktemp("pictures")
    for seed in range(5):
        Image.fromarray(draw("shapes", 260, 320, seed)).save(folder / f"{seed}.png")
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, the current one, with in.png, in.nc and the tree photos/ of three pictures."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    Image.fromarray(draw("shapes", 90, 120)).save("in.png")
    assert run("compress", "in.png", "in.nc", *MODEL).exit_code == 0
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    for name in ("a.png", "b.png", "deep/c.png"):
        shutil.copy("in.png", tmp_path / "photos" / name)
    return tmp_path


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "in.png"
    Image.fromarray(draw("shapes", 90, 120)).save(path)
    return path


@pytest.fixture
def packed(picture: Path, tmp_path: Path) -> Path:
    out = tmp_path / "in.nc"
    assert run("compress", picture, out, *MODEL).exit_code == 0
    return out
