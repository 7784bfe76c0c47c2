"""What only shows where two parts meet: noise, charge loss, shapes of batches and few images in evaluations."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from torch import nn

import norsim
from norsim.evaluation.attribution import classify
from norsim.evaluation.chips import compare_chips
from tests.conftest import reader_by

SMALL = {"tile.wordlines": 8, "tile.bitlines": 8, "bit_serial.reference_every": 4, "bit_serial.wires.strap_every": 4}
INPUTS, LABELS = torch.rand(40, 6, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 4


@pytest.fixture(scope="module")
def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(6, 4)


def test_an_attribution_has_the_noise_of_its_seed(linear: nn.Module) -> None:
    net = norsim.deploy(linear, "etox65", calibration=(INPUTS, LABELS), set={**SMALL, "adc.noise": 20})
    found = [
        classify(net.parts.analog, (INPUTS, LABELS), reader_by("macro"), LABELS.numpy(), seed).cross_entropy
        for seed in (1, 1, 2)
    ]
    assert np.array_equal(found[0], found[1]) and not np.array_equal(found[0], found[2])


def test_causes_are_found_on_a_chip_that_loses_charge(linear: nn.Module) -> None:
    """The ideal cell of the cause `cell` has no charge of its own."""
    aged = {**SMALL, "silicon.lost_a_decade": 0.02, "silicon.time": "1 day"}
    net = norsim.deploy(linear, "etox65", calibration=(INPUTS, LABELS), set=aged)
    assert {share.name for share in net.attribute((INPUTS, LABELS), "causes").shares} >= {"cell", "converter"}


def test_batches_of_other_shapes_have_an_end_to_end_proof_of_the_first() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(8, 4))
    batches = [(torch.rand(4, 1, size, size), torch.arange(4)) for size in (6, 8, 6)]
    net = norsim.deploy(model, "etox65", calibration=batches[0], set=SMALL)
    found = net.evaluate(batches, spice_sample=0)
    assert found.images == 12 and found.end_to_end is not None and found.end_to_end.images == 4


def test_one_image_says_nothing_about_others() -> None:
    found = compare_chips(np.array([[True], [False]]))
    assert found.ci95 == (0.0, 1.0) and "NaN" not in json.dumps(asdict(found))
