"""Benchmarks of growth: their networks, and what they make of measurements."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import growth, networks
from benchmarks.growth import Command
from norsim.chip.load import load_chip
from norsim.data import npz


def tiles_of(network: nn.Module) -> int:
    """The number of tiles of the preset that the layers of a float network need."""
    chip = load_chip("etox65")
    inputs, outputs = chip.encoding.capacity(chip.wordlines, chip.bitlines)
    shapes = [part.weight.flatten(1).shape for part in network.modules() if isinstance(part, (nn.Conv2d, nn.Linear))]
    return sum(-(-columns // outputs) * -(-rows // inputs) for columns, rows in shapes)


def test_networks_have_the_tiles_that_the_claims_state() -> None:
    with torch.device("meta"):
        found = [tiles_of(getattr(networks, name)()) for name in growth.NETWORKS]
    assert found == [64, 300, 120]


def test_the_transformer_takes_the_images_that_are_written(tmp_path: Path) -> None:
    networks.write_images(tmp_path / "images.npz", 2, 3)
    images = npz.load(tmp_path / "images.npz", "test").images
    with torch.inference_mode():
        found = networks.transformer().eval()(torch.from_numpy(images).float() / 255)
    assert found.shape == (3, networks.CLASSES) and found.isfinite().all()


def test_the_first_read_is_that_of_the_phase(tmp_path: Path) -> None:
    assert np.isnan(growth._first_read(tmp_path / "events.jsonl"))
    events = [("phase", "build", 5), ("phase ended", "build", 6), ("phase", "read", 7), ("phase", "read", 8)]
    lines = [
        {"time": f"1970-01-01T00:00:0{at}.500+00:00", "event": event, "phase": phase} for event, phase, at in events
    ]
    (tmp_path / "events.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert growth._first_read(tmp_path / "events.jsonl") == 7.5


def test_memory_is_extrapolated_and_compared_with_its_prediction(monkeypatch: pytest.MonkeyPatch) -> None:
    gib = 2**30
    known = {
        "small": Command(100, 1.0, 10.0, gib, 12.0, gib, 0.5),
        "large": Command(300, 50.0, 100.0, 2 * gib, 50.0, 3 * gib, 8.0),
        "transformer": Command(120, 40.0, 60.0, gib, 60.0, gib, 4.0),
    }
    monkeypatch.setattr(growth, "command", lambda name, images: known[name])
    found = growth.commands(growth.NETWORKS, 1)
    assert found["memory-tiles"].value == pytest.approx(2 + 700 / 200)
    assert found["memory-dry-run"].value == pytest.approx(1.5) and found["dry-run-networks"].value == pytest.approx(2)
    assert [found[key].value for key in ("setup-cold", "setup-warm", "transformer-start")] == [50.0, 8.0, 40.0]
