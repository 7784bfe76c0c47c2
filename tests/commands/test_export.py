"""`norsim export`: files that add up to what `eval-network` reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

import norsim as package
from norsim.commands.network.export import FORMATS
from norsim.errors import ConfigurationError
from norsim.exports.accelergy import components
from norsim.exports.registry import EXPORTERS
from tests.commands.conftest import Run


def test_every_format_is_offered() -> None:
    assert list(FORMATS) == list(EXPORTERS)


def by_name(entries: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    found = {entry["name"]: entry for entry in entries}
    assert len(found) == len(entries)
    return found


def test_counts_times_energies_are_the_energy_of_an_image(norsim: Run, tmp_path: Path) -> None:
    """As Accelergy 0.4 calculates: each action's energy in the ERT, pJ, times its count; areas in um2."""
    options = ("--network", "digits-cnn", "--quiet", "--json")
    ended = norsim("export", "--to", "accelergy", *options, "--out", tmp_path / "export").json
    assert ended["to"] == "accelergy" and ended["files"] == ["ERT.yaml", "ART.yaml", "action_counts.yaml"]
    read = {name: yaml.safe_load((tmp_path / "export" / name).read_text()) for name in ended["files"]}
    ert, art, counts = (read[f"{name}.yaml"][name] for name in ("ERT", "ART", "action_counts"))
    assert ert["version"] == art["version"] == counts["version"] == 0.4
    energies, areas = by_name(ert["tables"]), by_name(art["tables"])
    total = 0.0
    for name, entry in by_name(counts["local"]).items():
        joules = {action["name"]: action["energy"] for action in energies[name]["actions"]}
        total += sum(joules[action["name"]] * action["counts"] for action in entry["action_counts"])
    run = norsim(
        "eval-network", *options, "--images", 1, "--spice-sample", 0, "--proof-images", 0, "--out", tmp_path / "run"
    )
    chip = run.json["energy"]["chip"]
    assert total == pytest.approx(1e12 * chip["joules_image"], rel=1e-9)
    assert sum(one["area"] for one in areas.values()) == pytest.approx(1e12 * chip["square_metres"], rel=1e-9)
    tiles = {name.split(".")[2] for name in energies if name.startswith("chip.fc.tile")}
    assert tiles == {"tile_0_0", "tile_1_0"}
    assert {"chip.fc.tile_1_0.converters", "chip.fc.buffers", "chip.pumps", "chip.references"} <= set(areas)


def test_layers_whose_names_differ_only_in_dots_are_refused(small_chip: Any) -> None:
    from norsim.evaluation.chip_costs import costs_of_layers

    torch.manual_seed(0)
    images = torch.rand(40, 6)
    network = nn.Sequential()
    network.add_module("a", nn.Sequential(nn.Linear(6, 6)))
    network.add_module("a_0", nn.Linear(6, 4))
    converted = package.convert(package.quantize(network, images), small_chip("calibration.reads=20"))
    with pytest.raises(ConfigurationError, match=r"a\.0 and a_0 would both be named 'a_0'"):
        list(components(list(costs_of_layers(converted, {}))))
