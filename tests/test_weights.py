"""The table of models and the files behind it."""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import subprocess
import sys
import weakref
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch

from neurocodec import catalogue, weights
from neurocodec.errors import WeightsError
from tests.commands import PATIENCE
from tests.golden.make import TINY

CPU = torch.device("cpu")


def test_ids_and_names_are_used_once() -> None:
    assert len({m.id for m in catalogue.MODELS}) == len(catalogue.MODELS)
    assert len({m.name for m in catalogue.shipped()}) == len(catalogue.shipped())
    assert all(catalogue.find(e.model) in catalogue.MODELS for e in catalogue.ENCODERS)
    assert all(1 <= m.id <= 254 for m in catalogue.MODELS)
    assert catalogue.find(catalogue.DEFAULT_MODEL) in catalogue.MODELS


@pytest.mark.parametrize("model", catalogue.shipped(), ids=lambda m: m.name)
def test_shipped_files_are_those_of_the_table(model: catalogue.Model | catalogue.Encoder) -> None:
    data = (catalogue.weights_folder() / model.file).read_bytes()
    assert hashlib.sha256(data).hexdigest() == model.sha256
    assert len(data) < 13.4e6  # since models 29 and 30, which have tables in pairs


def test_other_bytes_under_a_shipped_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = dataclasses.replace(catalogue.MODELS[0], name="other", file="other.safetensors")
    (tmp_path / model.file).write_bytes(TINY.read_bytes())
    monkeypatch.setattr(catalogue, "MODELS", (model,))
    monkeypatch.setattr(weights, "weights_folder", lambda: tmp_path)
    with pytest.raises(WeightsError, match="install the package again"):
        weights.load("other", CPU)


@pytest.mark.parametrize("cut", [0, 7, 8, 100, 5000, -1])
def test_damaged_weights_are_refused(tmp_path: Path, cut: int) -> None:
    broken = tmp_path / f"broken{cut}.safetensors"
    broken.write_bytes(TINY.read_bytes()[:cut])
    with pytest.raises(WeightsError, match="not a weights file"):
        weights.load(str(broken), CPU)


@pytest.mark.parametrize("pairs_from", [[7, 7], [7, 7, -1], [7, 7, 65], [7] * 4])
def test_pairs_of_tables_that_begin_nowhere_are_refused(tmp_path: Path, pairs_from: list[int]) -> None:
    with safetensors.safe_open(TINY, "pt") as file:
        metadata = file.metadata()
    tensors = safetensors.torch.load_file(TINY) | {"y_tables.pairs_from": torch.tensor(pairs_from)}
    path = tmp_path / "broken.safetensors"
    safetensors.torch.save_file(tensors, path, metadata)
    with pytest.raises(WeightsError, match="its tables of latents are not those of this release"):
        weights.load(str(path), CPU)


@pytest.mark.parametrize("key", ["y_tables", "z_tables"])
@pytest.mark.parametrize("damage", ["negative", "halved", "zero", "short", "long", "radius"])
def test_tables_that_are_damaged_are_refused(tmp_path: Path, key: str, damage: str) -> None:
    with safetensors.safe_open(TINY, "pt") as file:
        metadata = file.metadata()
    tensors = safetensors.torch.load_file(TINY)
    radius, frequencies = tensors[f"{key}.radius"], tensors[f"{key}.frequencies"].clone()
    if damage == "negative":
        frequencies[-1], frequencies[-2] = -1, frequencies[-2] + frequencies[-1] + 1
    elif damage == "radius":
        radius = radius.clone()
        radius[-1] = -1
    else:
        frequencies = {
            "halved": frequencies // 2,
            "zero": frequencies * 0,
            "short": frequencies[:-3],
            "long": torch.cat([frequencies, frequencies]),
        }[damage]
    path = tmp_path / "broken.safetensors"
    safetensors.torch.save_file(tensors | {f"{key}.radius": radius, f"{key}.frequencies": frequencies}, path, metadata)
    with pytest.raises(WeightsError, match="not a weights file of this package"):
        weights.load(str(path), CPU)


@pytest.mark.parametrize(
    ("key", "value"),
    [("config", "[1]"), ("config", "null"), ("calibration", "[[100, Infinity], [200, 3]]"), ("objective", "3")],
)
def test_fields_that_are_damaged_are_refused(tmp_path: Path, key: str, value: str) -> None:
    with safetensors.safe_open(TINY, "pt") as file:
        metadata = file.metadata()
    path = tmp_path / "broken.safetensors"
    safetensors.torch.save_file(safetensors.torch.load_file(TINY), path, metadata | {key: value})
    with pytest.raises(WeightsError, match="not a weights file of this package"):
        weights.load(str(path), CPU)


def test_a_file_that_has_become_another_is_loaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.safetensors"
    path.write_bytes(TINY.read_bytes())
    before = weights.load("mine.safetensors", CPU)
    assert weights.load(str(path), CPU) is before
    with safetensors.safe_open(TINY, "pt") as file:
        metadata = file.metadata() | {"note": "another"}
    safetensors.torch.save_file(safetensors.torch.load_file(TINY), path, metadata)
    assert weights.load("mine.safetensors", CPU).fingerprint != before.fingerprint
    gone = weakref.ref(before)
    del before
    gc.collect()
    assert gone() is None  # of many, the last one is kept


def test_unknown_ids_are_refused() -> None:
    with pytest.raises(WeightsError, match=r"model id 254, .* use a newer one"):
        catalogue.find_id(254)


def test_retired_ids_are_not_of_the_future() -> None:
    with pytest.raises(WeightsError, match=r"model id 1, .* use the checkout that wrote it"):
        catalogue.find_id(1)


def test_calibration_is_exact_integer_interpolation(tiny: weights.LoadedModel) -> None:
    assert tiny.calibration == ((100, 0), (5000, 4096), (10000, 8192))
    assert [tiny.position(q) for q in (100, 2550, 5000, 7500, 10000)] == [0, 2048, 4096, 6144, 8192]
    assert tiny.position(101) == 4096 // 4900


def test_every_weight_comes_from_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks are made without first weights; whatever is in their memory, nothing of it is left. And loading
    leaves the program's random numbers alone."""
    tensors = safetensors.torch.load_file(TINY)
    config = weights.load(str(TINY), CPU).codec.config
    before = torch.get_rng_state()
    states = []
    for value in (float("nan"), 7.0):
        monkeypatch.setattr(torch, "empty", lambda *shape, value=value, **options: torch.full(shape, value, **options))
        networks = weights.build_codec(config, tensors, CPU).networks
        monkeypatch.undo()
        states.append({k: v.clone() for k, v in (*networks.named_parameters(), *networks.named_buffers())})
    assert torch.equal(torch.get_rng_state(), before)
    assert states[0].keys() == states[1].keys()
    assert len(states[0]) > 50
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), name


@pytest.mark.slow
def test_a_wheel_carries_the_weights(tmp_path: Path) -> None:
    root = Path(__file__).parents[1]
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "-w", str(tmp_path), str(root)]
    subprocess.run(command, check=True, timeout=PATIENCE)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        for model in catalogue.shipped():
            data = archive.read(f"neurocodec/_weights/{model.file}")
            assert hashlib.sha256(data).hexdigest() == model.sha256
    assert "neurocodec/FORMAT.md" in names
    assert "neurocodec/py.typed" in names
    assert not any(name.startswith(("tests/", "benchmarks/")) for name in names)
