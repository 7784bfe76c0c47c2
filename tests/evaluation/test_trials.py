"""Several chips: their reads are solved again by the simulator that the user chose."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import norsim
from norsim.array.tile import Currents, Stimulus, Tile
from norsim.backends import registry
from norsim.backends.nodal import Nodal
from norsim.backends.simulators.neospice import Neospice
from norsim.errors import ConfigurationError
from norsim.evaluation.trials import evaluate_chips
from norsim.spice.simulators.choice import SIMULATORS


@pytest.fixture
def net() -> norsim.DeployedNetwork:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    return norsim.deploy(model, calibration=torch.rand(30, 6), set={"silicon.drift_cell": "5 mV"})


@pytest.mark.parametrize("trials", [1, 2])
def test_the_chosen_simulator_verifies(
    net: norsim.DeployedNetwork, monkeypatch: pytest.MonkeyPatch, trials: int
) -> None:
    """NORSIM_SIMULATOR chooses it, for one chip and for several; here its solver is nodal."""
    solved: list[int] = []

    def solve(backend: Neospice, tile: Tile, stimulus: Stimulus) -> Currents:
        solved.append(stimulus.vectors)
        return Nodal().solve(tile, stimulus)

    monkeypatch.setattr(registry, "chosen_simulator", lambda cell=None: SIMULATORS["neospice"])
    monkeypatch.setattr(Neospice, "solve", solve)
    data = torch.rand(8, 6), torch.arange(8) % 3
    verification = net.evaluate(data, trials=trials, spice_sample=5).verification
    assert verification.witness == "neospice" and verification.samples == 5
    assert verification.passes and verification.passes.reads == 2 * 4 and sum(solved) <= 5 + 2 * 4
    tiles = 2 * trials
    assert verification.tiles and verification.tiles.witness == "nodal" and verification.tiles.reads == 4 * tiles
    assert 0 < (verification.max_error_full_scale or 0) < 1e-4


def test_without_a_choice_it_is_ngspice(net: norsim.DeployedNetwork) -> None:
    data = torch.rand(4, 6), torch.arange(4) % 3
    assert net.evaluate(data, trials=2, spice_sample=2).verification.witness == "ngspice"


def test_a_number_of_chips_is_at_least_one(net: norsim.DeployedNetwork) -> None:
    for count in (0, -1, 1.5):
        with pytest.raises(ConfigurationError, match="expected at least 1 chip"):
            evaluate_chips(lambda number: net, count, [])  # type: ignore[arg-type]
