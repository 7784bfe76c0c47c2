"""CrossSim on a comparison's folder: `python -m benchmarks.peers.in_crosssim JOB OUT`, with the folder of a checkout
on PYTHONPATH.

Its array with separate sources solves the drop along each column and along a supply line beside it, for cells that are
conductances while their input is 1. Weight 0 is half of the conductance range, and a column of such cells is converted
and subtracted. The supply line stands for the straps of a NOR array, which the columns of a group share: its resistance
per cell is theirs times the columns. If straps are grounded at both ends, a quarter of it drops as much on average;
CrossSim grounds a line at one end. A source line across the columns, shared by rows and strapped, it does not have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import simulator
import torch
from simulator import AnalogCore, CrossSimParameters
from simulator.algorithms.dnn.torch.convert import from_torch
from simulator.parameters.core_parameters import CoreStyle, OffsetCoreStyle
from simulator.parameters.xbar_parameters import ADCRangeLimits
from torch import nn

from benchmarks.peers.network import OnGrid, Range, load
from benchmarks.peers.results import Results


def parameters(known: dict[str, Any], rows: int, wires: bool, adc_top: float | None) -> CrossSimParameters:
    """Return the parameters of arrays for `rows` inputs, at most those of a tile each and equally many, so that none is
    longer than its rows; `adc_top` is the end of the converters' range, in
    currents of the highest level, None for ideal converters."""
    found = CrossSimParameters()
    found.core.style, found.core.offset.style = CoreStyle.OFFSET, OffsetCoreStyle.UNIT_COLUMN_SUBTRACTION
    found.core.rows_max, found.core.cols_max = -(-rows // -(-rows // known["wordlines"])), known["bitlines"]
    found.core.mapping.weights.min, found.core.mapping.weights.max = -1.0, 1.0
    found.core.mapping.weights.percentile = None
    found.core.mapping.inputs.mvm.min, found.core.mapping.inputs.mvm.max = 0.0, 1.0
    device = found.xbar.device
    device.Rmin, device.infinite_on_off_ratio = known["read_volts"] / known["top_amps"], True
    device.Rmax = 1e6 * device.Rmin
    dac = found.xbar.dac.mvm
    dac.model, dac.bits, dac.signed, dac.input_bitslicing, dac.slice_size = "QuantizerDAC", 4, False, True, 1
    if adc_top is not None:
        adc = found.xbar.adc.mvm
        adc.model, adc.bits, adc.signed, adc.adc_per_ibit = "QuantizerADC", known["adc_bits"], False, True
        adc.adc_range_option, adc.calibrated_range = ADCRangeLimits.CALIBRATED, np.array([0.0, adc_top])
    with_wires(found, known, wires)
    return found


def with_wires(found: CrossSimParameters, known: dict[str, Any], wires: bool) -> None:
    """Add the resistances of bitlines, and of straps as supply lines."""
    lines = found.xbar.array.parasitics
    lines.enable, lines.current_from_input, lines.selected_rows = wires, False, "bottom"
    if not wires:
        return
    lines.Rp_col, lines.Rp_col_terminal = known["bitline_ohms"], known["bitline_end_ohms"]
    ends = {"one": 1, "both": 2, "all": 0}[known["strap_ends"]]
    if ends:
        columns = known["strap_every"]
        lines.Rp_row = columns * known["strap_ohms"] / ends**2
        lines.Rp_row_terminal = columns * known["ground_ohms"] / ends
    found.simulation.hide_convergence_msg = True


def adc_tops(results: Results) -> dict[str, float]:
    """Return for each layer the largest current of a column in one pass over the training images, in currents of the
    highest level."""
    network = load(results.job)
    layers = {name: part for name, part in network.named_modules() if isinstance(part, OnGrid)}
    for part in layers.values():
        part.record = []
    with torch.no_grad():
        network(results.train)
    rows, found = results.chips[0]["wordlines"], {}
    for name, part in layers.items():
        levels = part.layer.weight.detach().flatten(1) / 2 + 0.5
        levels = torch.cat([levels, torch.full((1, levels.shape[1]), 0.5)])
        (codes,) = part.record or []
        if codes.ndim == 4:
            conv = part.layer
            codes = nn.functional.unfold(codes, conv.kernel_size, 1, conv.padding, conv.stride)
            codes = codes.transpose(1, 2).flatten(0, 1)
        whole, top = (codes * 15).round().long(), 0.0
        for start in range(0, levels.shape[1], rows):
            for bit in range(4):
                drive = (whole[:, start : start + rows] >> bit & 1).float()
                top = max(top, float((drive @ levels[:, start : start + rows].T).max()))
        found[name] = top
    return found


def main() -> None:
    project = (Path(simulator.__path__[0]).parent / "pyproject.toml").read_text()
    (number,) = re.findall(r'(?m)^version = "(.*)"', project)
    results = Results(number)
    known, tops = results.chips[0], adc_tops(results)

    def converter(wires: bool) -> Any:
        def convert(layer: nn.Module, of: Range) -> nn.Module:
            made: nn.Module = from_torch(layer, parameters(known, of.inputs, wires, tops[of.name]))
            return made

        return convert

    results.network("converters", converter(False))
    results.network("converters, bitlines and straps", converter(True), results.wired_images, 1)

    def reader(known: dict[str, Any], wires: bool) -> Any:
        def currents(codes: np.ndarray, drives: np.ndarray) -> np.ndarray:
            # A conductance is the weight: levels 0 to 1 as weights -1 to 1, without the column that is subtracted.
            given = parameters(known, len(codes), wires, None)
            given.core.offset.style = OffsetCoreStyle.DIGITAL_OFFSET
            # Of the read volts; for networks it is CrossSim's default, 1e-3.
            given.simulation.Verr_th_mvm = 1e-7
            # The last input is nearest to the converter here; in norsim the first is.
            core = AnalogCore(2 * codes[::-1].T / 15 - 1, given)
            signed = np.array([core.matvec(drive) for drive in drives[:, ::-1]])
            sums = (signed + drives.sum(axis=1)[:, None]) / 2
            return sums * float(known["top_amps"])

        return currents

    results.tile("no wires", "no wires", reader(known, False))
    for chip in results.chips:
        results.tile(chip["chip"], "bitlines and straps", reader(chip, True))
    results.write()


if __name__ == "__main__":
    main()
