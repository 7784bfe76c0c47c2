"""Parts of a chip, and layers, that can be switched on and off to see what each costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from torch import nn

from norsim.chip.load import ChipChoice, apply_settings, build_chip
from norsim.chip.model import Chip
from norsim.experiments.experiment import Subject
from norsim.saved.network_folder import load_network
from norsim.tiling.convert import convert
from norsim.tiling.modules import tiled_layers

Names = tuple[str, ...]
NetworkWith = Callable[[frozenset[str]], nn.Module]


@dataclass(frozen=True)
class Factor:
    """A part of the chip that can be switched: settings of a chip file with it and without it, `{wires}` standing for
    the encoding's wires."""

    without: tuple[str, ...]
    with_it: tuple[str, ...] = ()


LINEAR = (
    "cell.netlist=linear.sp", "cell.models=[]", "cell.subcircuit=linear", "cell.state=vt", "cell.model=null",
    "cell.pins=[drain, gate, source, bulk]", "cell.state_erased=null", "cell.state_programmed=null",
    "cell.programmed_as=null", "cell.instance={{}}", "cell.params={{}}", "cell.options={{}}", "cell.compatibility=''",
    "cell.osdi=[]",
)  # fmt: skip


FACTORS = {
    "causes": {
        "cell": Factor(LINEAR),
        "bitline": Factor(("{wires}.bitline=0 ohm", "{wires}.bitline_end=0 ohm")),
        "source line": Factor(("{wires}.source_line=0 ohm", "{wires}.source_line_end=0 ohm")),
        "converter": Factor(("adc.bits=24",)),
    },
    "cures": {
        "column fit": Factor(("calibration.column_fit=false",), ("calibration.column_fit=true",)),
        "programming in place": Factor(("silicon.in_situ=false",), ("silicon.in_situ=true",)),
        "row order": Factor(("tile.row_order=false",), ("tile.row_order=true",)),
    },
}


def by_factors(
    chosen: Subject, choice: ChipChoice, fit: Callable[[nn.Module], None], factors: Mapping[str, Factor]
) -> tuple[Names, NetworkWith]:
    """The factors, and what gives the network on a chip with some of them alone, fitted."""
    network, _ = load_network(chosen.name, chosen.trusted)

    def network_with(on: frozenset[str]) -> nn.Module:
        analog = convert(network, chip_with(choice, on, factors))
        fit(analog)
        return analog

    return tuple(factors), network_with


def by_layers(chosen: Subject, choice: ChipChoice, fit: Callable[[nn.Module], None]) -> tuple[Names, NetworkWith]:
    """The layers, and what gives the network with some of them on the array; the fit of each is its own."""
    fit(chosen.model)
    layers = tiled_layers(chosen.model)

    def network_with(on: frozenset[str]) -> nn.Module:
        for name, layer in layers.items():
            layer.fixed_backend = None if name in on else "ideal"
        return chosen.model

    return tuple(layers), network_with


def chip_with(choice: ChipChoice, on: frozenset[str], factors: Mapping[str, Factor]) -> Chip:
    """The chip with those factors `on`, and without the others."""
    wires = f"{choice.content['encoding'].replace('-', '_')}.wires"
    settings = [
        text.format(wires=wires)
        for name, factor in factors.items()
        for text in (factor.with_it if name in on else factor.without)
    ]
    chip = build_chip(apply_settings(choice.content, tuple(settings)), choice.path, choice.trusted)
    return replace(chip, draw=choice.chip.draw)
