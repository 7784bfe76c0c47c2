"""The numbers of the page on energy: converters by hand from the network's shapes, the whole table by the command."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

import norsim
from norsim.chip.load import load_chip
from norsim.evaluation.chip_costs import chip_square_metres, costs_of_layers
from norsim.periphery.circuits.energy import Costs, line_joules
from norsim.saved.network_folder import load_network
from norsim.tiling.modules import layer_codes, tiled_layers
from tests.docs.test_docs import ROOT, script
from tests.test_cifar_end_to_end import CIFAR

PAGE = ROOT / "docs" / "theory" / "energy.md"


@pytest.fixture(scope="module")
def shown() -> dict[str, list[str]]:
    lines = script(PAGE.with_suffix(".py")).shown().splitlines()[2:]
    return {cells[0]: cells[1:] for cells in ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)}


@pytest.mark.parametrize(("name", "setting", "shared"), [
    ("`etox65`", "encoding=bit-serial", 1), ("`adc.shared_by=8`", "adc.shared_by=8", 8),
    ("`encoding=linear-pair`", "encoding=linear-pair", 1),
])  # fmt: skip
def test_converters_and_latency_from_the_shapes_of_the_layers(
    shown: dict[str, list[str]], name: str, setting: str, shared: int
) -> None:
    network, _ = load_network("resnet20")
    chip = load_chip("etox65", (setting,))
    converted = norsim.convert(network, chip)
    codes = layer_codes(converted, torch.rand(1, 3, 32, 32))
    macs, conversions, converters, seconds = 0, 0, 0, 0.0
    for layer_name, layer in tiled_layers(converted).items():
        reads = len(codes[layer_name]) * chip.encoding.passes(4)
        outputs = [len(part.outputs) for part in layer.grid.tiles]
        macs += len(codes[layer_name]) * layer.grid.layer.inputs * layer.grid.layer.outputs
        conversions += reads * sum(outputs)
        converters += sum(-(-count // shared) for count in outputs)
        seconds += reads * (2e-9 + min(shared, max(outputs)) * 50e-9)
    energy, cells, lines, of_converters, tops, latency, number, whole, whole_tops, area = shown[name]
    assert of_converters == f"{conversions * 256 * 6.1e-15 * 1e9:.4g} nJ"
    assert latency == f"{1e3 * seconds:.3g} ms" and number == str(converters)
    joules = [float(value.removesuffix(" nJ")) for value in (energy, cells, lines, of_converters)]
    assert joules[0] == pytest.approx(sum(joules[1:]), rel=1e-3)
    assert float(tops) == pytest.approx(2e-3 * macs / joules[0], rel=1e-2)
    assert float(whole_tops) == pytest.approx(2e-3 * macs / float(whole.removesuffix(" nJ")), rel=1e-2)
    areas = chip_square_metres(list(costs_of_layers(converted, {key: len(value) for key, value in codes.items()})))
    assert area == f"{1e6 * sum(areas.values()):.3g} mm²"
    text = " ".join(PAGE.read_text().split())
    assert f"{macs / 1e6:.1f} million multiply-accumulates" in text
    if name == "`etox65`":
        assert f"a conversion serves {4 * macs / conversions:.0f} multiply-accumulates by one bit" in text


def test_holding_and_sharing_scale_the_cells_as_the_page_says(shown: dict[str, list[str]]) -> None:
    """Every tile of ResNet-20 but that of `linear` with 10 outputs has at least 16, so eight conversions a read."""
    cells = [
        float(shown[name][1].removesuffix(" nJ"))
        for name in ("`etox65`", "`adc.shared_by=8`", "`adc.shared_by=8`, `cost.held=true`")
    ]
    converters = float(shown["`adc.shared_by=8`"][3].removesuffix(" nJ"))
    assert cells[1] == pytest.approx(cells[0] * (2 + 8 * 50) / (2 + 50), rel=2e-3)
    assert cells[2] == pytest.approx(cells[0] * 2 / (2 + 50), rel=2e-3)
    assert cells[1] > converters > cells[0]


def test_the_example_of_rising_edges() -> None:
    chip = load_chip("etox65")
    codes = {int(code): len(bits) for code, bits in re.findall(r"(\d) = (\d{4})", PAGE.read_text())}
    assert set(codes) == {3, 5}
    for code, rises in ((3, 1), (5, 2)):
        stimulus = chip.encoding.drive(np.array([[code]], dtype=np.uint8), 4, 4)
        one = stimulus.bitline_volts.shape[1] * chip.wires.wordline_farads * 25 / 0.5
        assert line_joules(Costs(), chip.wires, stimulus, 4) * 4 == pytest.approx(rises * one)


@pytest.mark.soak
@pytest.mark.skipif(not CIFAR.is_dir(), reason="no CIFAR-10 beside the repository")
def test_the_table_is_what_the_command_finds() -> None:
    module = script(PAGE.with_suffix(".py"))
    assert module.table(CIFAR) == module.shown()
