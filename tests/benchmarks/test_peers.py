"""The comparison with other simulators: norsim's half of it, what it hands to the others, and the page."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.peers import job, page
from benchmarks.peers.__main__ import RESULTS, parser
from benchmarks.peers.measures import accuracy, current_error, difference
from benchmarks.peers.network import load
from norsim.chip.load import choose_chip, load_chip
from norsim.experiments.experiment import open_experiment

SMALL = replace(job.FULL, tiles=((8, 4),), reads=5, chips=("etox65",))


def test_the_page_is_what_the_command_writes() -> None:
    found = json.loads(RESULTS.read_text())
    assert page.page(found) == page.PAGE.read_text()
    assert {*found["packages"], *found["missing"]} == {*page.TITLES}
    for result in found["tiles"].values():
        assert result["errors"]["norsim/nodal"]["largest"] < 1e-6
    options = {word for word in page.COMMAND.split() if word.startswith("--")}
    assert options <= {option for action in parser()._actions for option in action.option_strings}


def test_a_tile_without_wires_is_exact_sums_and_with_wires_it_is_not() -> None:
    """norsim's half, on a small tile: ngspice itself judges; a package's currents are compared on the right tiles."""
    codes, drives = job.codes_and_drives(8, 4, 5)
    amps = drives @ codes * 1.6e-6 / 15
    currents = {"crosssim": {"8x4/no wires/no wires": amps, "8x4/etox65/bitlines and straps": 0.99 * amps}}
    found = job.tile_results(SMALL, lambda _: None)
    job.add_package(found, "crosssim", currents["crosssim"])
    assert list(found) == ["8x4, no wires", "8x4, etox65"]
    bare, wired = (one["errors"] for one in found.values())
    assert "crosssim/bitlines and straps" not in bare and "crosssim/bitlines and straps" in wired
    assert bare["norsim/exact sums"]["largest"] < 1e-8 > bare["crosssim/no wires"]["largest"]
    assert wired["norsim/nodal"]["largest"] < 1e-6 < 1e-5 < wired["norsim/exact sums"]["rms"]
    # A common gain is fitted.
    assert wired["crosssim/bitlines and straps"]["fitted_rms"] == pytest.approx(
        wired["norsim/exact sums"]["fitted_rms"], rel=1e-6
    )


def test_errors_by_hand() -> None:
    """Gain 2 and offset 1 are fitted; of what is left, 0.1 in one of two bitlines, a third stays."""
    exact = np.array([[0.0, 0.0], [2.0, 2.0], [4.0, 4.0]])
    amps = (exact - 1) / 2
    found = current_error(amps, exact, 10.0)
    assert found["largest"] == pytest.approx(0.25) and found["fitted_largest"] == pytest.approx(0, abs=1e-12)
    assert found["rms"] == pytest.approx(np.sqrt(np.mean((amps - exact) ** 2)) / 10)
    bent = exact + np.array([[0.0, 0.0], [0.3, 0.0], [0.0, 0.0]])
    # By hand: the residuals of y = 0, 2.3, 4 over 0, 2, 4 are -0.1, 0.2, -0.1.
    assert current_error(exact, bent, 1.0)["fitted_largest"] == pytest.approx(0.2)
    assert current_error(exact, bent, 1.0)["fitted_rms"] == pytest.approx(np.sqrt(0.06 / 6))


def test_differences_are_paired() -> None:
    labels = [0, 1] * 50
    wrong = [1 - label for label in labels[:10]] + labels[10:]
    assert accuracy(wrong, labels)[0] == 0.9
    change, (low, high) = difference(wrong, labels, labels)
    assert change == pytest.approx(-0.1) and -0.2 < low < -0.1 < high < -0.03
    change, (low, high) = difference(wrong, wrong, labels)
    assert change == 0 and -0.05 < low < 0 < high < 0.05


def test_others_get_the_network_that_norsim_computes_in_integers(tmp_path: Path) -> None:
    one = open_experiment("resnet20", choose_chip("etox65", seed=0), "cifar10", None)
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    np.savez(tmp_path / "network.npz", **job.network_arrays(one.net.parts.analog, images, load_chip("etox65")))
    with torch.no_grad():
        given, ours = load(tmp_path)(images), one.net.quantized(images)
    assert torch.allclose(given, ours, atol=1e-3) and given.std() > 0.1
    arrays = np.load(tmp_path / "network.npz")
    # Sums of at most 256 rows, of inputs and weights of at most 1, over these images.
    assert 0 < arrays["layer3.2.conv2/largest"] < 256 and arrays["conv1/largest"] <= arrays["conv1/largest_by_weight"]
