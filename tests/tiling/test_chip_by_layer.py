"""Chip keys by layer: converters and rows of some layers differ from those of the chip."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import nn

import norsim
from norsim.backends.registry import backend_named
from norsim.chip.load import choose_chip, load_chip, presets
from norsim.chip.model import Chip
from norsim.configuration.strict_yaml import parse_yaml, yaml_text
from norsim.errors import ConfigurationError, PlacementError
from norsim.evaluation.batches import fingerprint
from norsim.experiments.attribution import _by_factors
from norsim.experiments.deployment import Deployment
from norsim.quantization.layer import QuantizedLayer
from norsim.tiling.grid import place
from norsim.tiling.modules import tiled_layers

SmallChip = Callable[..., Chip]
MakeLayer = Callable[..., QuantizedLayer]
NAMES = ("conv1", "body.0.fc", "body.1.fc")


def test_a_layer_has_the_keys_of_the_first_pattern_that_matches(tmp_path: Path) -> None:
    content = yaml.safe_load(presets()["etox65"].read_text())
    content["layers"] = {
        "conv1": {"adc": {"bits": 10, "range": ["-2 uA", "8 uA"]}},
        "*.1.*": {"adc": {"range": "full"}, "tile": {"rows_used": 64}},
        "body.*": {"tile": {"rows_used": 32}},
    }
    path = tmp_path / "chip.yaml"
    path.write_text(yaml_text(content))
    chip = load_chip(path)
    chips = chip.for_layers(NAMES)
    found = {name: (one.adc_bits, one.adc_range, one.rows_used) for name, one in chips.items()}
    assert found == {
        "conv1": (10, (pytest.approx(-2e-6), pytest.approx(8e-6)), None),
        "body.1.fc": (8, "full", 64), "body.0.fc": (8, "fitted", 32),
    }  # fmt: skip
    # What the record of a run states makes the same chip, in the same order of patterns.
    assert parse_yaml(yaml_text(choose_chip(path).content), "chip") == content


def test_a_layer_without_keys_of_its_own_does_not_change_with_those_of_others() -> None:
    plain = load_chip("etox65").for_layers(NAMES)["conv1"]
    assert load_chip("etox65", ("layers.body.*.adc.bits=9",)).for_layers(NAMES)["conv1"] == plain


def test_settings_reach_keys_below_patterns_with_dots() -> None:
    settings = ("layers.body.*.fc.adc.bits=9", "layers.conv1.tile.rows_used=9", "layers.conv1.adc.bits=6")
    chips = load_chip("etox65", settings).for_layers(NAMES)
    assert (chips["body.0.fc"].adc_bits, chips["conv1"].adc_bits, chips["conv1"].rows_used) == (9, 6, 9)
    same = load_chip("etox65", {"layers": {"conv1": {"adc": {"bits": 6}}}}).for_layers(NAMES)
    assert same["conv1"].adc_bits == 6


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("layers.conv1.adc.bitz=9", "no key 'bitz'; did you mean 'bits'"),
        ("layers.conv1=9", "expected layers.PATTERN.KEY, for example layers.conv1.adc.bits=9"),
        ("layers.adc.bits=9", "expected layers.PATTERN.KEY"),
        ("layers.conv1.adc.bits=25", "layers.conv1.adc.bits: .* 24, not 25"),
        ("layers={conv1: {adc: {bitz: 9}}}", "unknown key 'layers.conv1.adc.bitz'; did you mean 'bits'"),
        ("layers={conv1: {tile: {wordlines: 9}}}", "unknown key 'layers.conv1.tile.wordlines'"),
        ("layers.conv1.adc.range=[1 uA, -1 uA]", "layers.conv1.adc: the range from 1e-06 A to -1e-06 A is empty"),
        ("adc.range=[1 uA]", "adc.range"),
        ("adc.range=wide", "adc.range"),
        ("tile.rows_used=0", "tile.rows_used"),
    ],
)  # fmt: skip
def test_unsuitable_keys_are_named(setting: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_chip("etox65", (setting,))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("layers.fc9.adc.bits=9",), "section `layers` of chip etox65: 'fc9' matches no layer; did you mean '2'|'fc9'"),
        (("layers={'*': {adc: {bits: 9}}, '2': {adc: {bits: 8}}}",), "'2' has no effect, because '\\*'"),
    ],
)
def test_patterns_without_effect_are_refused_when_the_layers_are_known(
    settings: tuple[str, ...], message: str, small_chip: SmallChip
) -> None:
    quantized = norsim.quantize(nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)), [torch.rand(4, 5)])
    with pytest.raises(ConfigurationError, match=message):
        norsim.convert(quantized, small_chip(*settings))


def test_rows_used_bound_the_inputs_of_a_tile(small_chip: SmallChip, make_layer: MakeLayer) -> None:
    chip = small_chip("tile.rows_used=3")
    grid = place(make_layer(8, 2), chip)
    assert [len(part.inputs) for part in grid.tiles] == [3, 3, 2]
    assert len(place(make_layer(8, 2), small_chip()).tiles) == 1
    with pytest.raises(PlacementError, match="rows_used is 9, but a tile of 8 x 8 takes at most 8 inputs"):
        place(make_layer(8, 2), small_chip("tile.rows_used=9"))


def test_too_wide_activations_are_refused_with_the_key_that_widens_them(make_layer: MakeLayer) -> None:
    chip = load_chip("etox65", ("encoding=linear-pair",))
    with pytest.raises(PlacementError, match="at most 4 bits: set linear_pair.dac_bits to 6, or quantize"):
        place(make_layer(8, 2, input_bits=6), chip)


def deployed(settings: dict[str, Any]) -> norsim.DeployedNetwork:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 6), nn.ReLU(), nn.Linear(6, 3)).eval()
    small = {"tile.wordlines": 8, "tile.bitlines": 8, "bit_serial.reference_every": 4, "calibration.reads": 16}
    data = torch.rand(64, 12, generator=torch.Generator().manual_seed(0))
    return norsim.deploy(model, "etox65", calibration=data, set=small | settings, bits={"0": 8, "*": "4/6"})


def test_a_deployed_network_follows_the_keys_of_its_layers(tmp_path: Path) -> None:
    net = deployed({"layers": {"0": {"adc": {"bits": 12}, "tile": {"rows_used": 4}}}})
    x = torch.rand(30, 12, generator=torch.Generator().manual_seed(1))
    result = net.evaluate((x, net.quantized(x).argmax(1)), spice_sample=2, proof_images=4)
    first, last = result.layers
    assert (first["tiles"], first["adc_bits"], first["weight_bits"], first["activation_bits"]) == (9, 12, 8, 8)
    assert (last["tiles"], last["adc_bits"], last["weight_bits"], last["activation_bits"]) == (1, 8, 4, 6)
    # Conversions: a tile has 6 outputs in all, of two slices and eight passes, or 3 of one slice and six.
    steps = load_chip("etox65").costs.joules_per_step
    assert first["converters_joules_image"] == pytest.approx(3 * 6 * 2 * 8 * 2**12 * steps)
    assert last["converters_joules_image"] == pytest.approx(3 * 6 * 2**8 * steps)
    assert result.verification.max_error_full_scale < 1e-4
    again = norsim.load_deployed(net.save(tmp_path / "net"))
    assert torch.equal(again(x), net(x)) and again.chip == net.chip
    assert {name: layer.grid.chip.adc_bits for name, layer in again.tiled.items()} == {"0": 12, "2": 8}
    assert '"0": "8/8"' in (tmp_path / "net" / "network.json").read_text()


def test_converters_have_the_range_that_the_chip_states() -> None:
    net = deployed({"layers": {"0": {"adc": {"range": "full"}}, "2": {"adc": {"range": ["-1 uA", "3 uA"]}}}})
    full, fixed = (layer.grid.tiles for layer in net.tiled.values())
    for part in full:
        for adc in part.adcs:
            assert (adc.low_amps, adc.high_amps) == (-part.full_scale_amps, part.full_scale_amps)
    assert [(adc.low_amps, adc.high_amps) for adc in fixed[0].adcs] == [(pytest.approx(-1e-6), pytest.approx(3e-6))]
    # Gains are fitted to the codes, so that sums are those of the network in spite of coarser steps.
    x = torch.rand(20, 12, generator=torch.Generator().manual_seed(1))
    assert (net(x) - net.quantized(x)).abs().max() < 0.1 * net.quantized(x).abs().max()


def test_attribution_removes_the_converters_of_layers_too() -> None:
    keys = {"0": {"adc": {"bits": 3}, "tile": {"rows_used": 4}}, "*": {"adc": {"range": "full"}}}
    quantized = norsim.quantize(nn.Sequential(nn.Linear(12, 6), nn.ReLU(), nn.Linear(6, 3)), [torch.rand(9, 12)])
    deployment = Deployment("two layers", quantized, choose_chip("etox65", {"layers": keys}))
    causes, network_with = _by_factors(deployment, "causes", lambda analog: analog)

    def chips(*on: str) -> list[tuple[int, object, int | None]]:
        found = tiled_layers(network_with(frozenset(on))).values()
        return [(one.grid.chip.adc_bits, one.grid.chip.adc_range, one.grid.chip.rows_used) for one in found]

    assert chips(*causes) == [(3, "fitted", 4), (8, "full", None)]
    assert chips("cell") == [(24, "fitted", 4), (24, "fitted", None)]


def test_finished_work_is_that_of_the_same_keys(small_chip: SmallChip) -> None:
    quantized = norsim.quantize(nn.Sequential(nn.Linear(5, 3)), [torch.rand(4, 5)])
    macro = backend_named("macro")
    plain, own = (
        fingerprint(norsim.convert(quantized, small_chip(*settings)), macro)
        for settings in ((), ("layers.*.adc.bits=9",))
    )
    assert plain != own and np.unique([plain, own]).size == 2
    assert len(tiled_layers(norsim.convert(quantized, small_chip()))) == 1
