"""The gate-coupled multiplier: its error at one temperature, and the drift of its output with temperature.

Random weights and inputs are read by nodal, cells with the chip's spread.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from norsim.array.tile import Floats
from norsim.backends.registry import read
from norsim.quantization.layer import QuantizedLayer
from norsim.tiling.grid import place
from norsim.tiling.program import ProgrammedTile
from norsim.tiling.tile import PlacedTile
from norsim.validation.row import Load, Predicted

VECTORS = 100
CHIPS = 4
CELSIUS = (25, 55, 85)
# Smaller inputs, deeper in subthreshold, with the ratios of the chip file.
SMALL = {"gate_coupled.input_full": "1 nA", "gate_coupled.base_level": "0.2 nA", "gate_coupled.top_level": "0.6 nA"}
# Ratios of both cells of a weight, as currents of 10 nA; the first are those of the chip file.
OTHER_RATIOS = (("0.4 nA", "6 nA"), ("4 nA", "10 nA"))


def product_error(load: Load) -> Predicted:
    """Return the largest deviation of the currents of single bitlines from the products, per cent of the largest
    current, over chips; the gain common to all bitlines of a chip is taken out."""
    worst, rms = _product_error(load, {})
    small, _ = _product_error(load, SMALL)
    return Predicted(
        worst,
        f"The rms is {rms:.2g} %, over {CHIPS} chips of {VECTORS} vectors. With inputs of up to 1 nA instead of 10 nA, "
        f"deeper in subthreshold, the largest is {small:.2g} %.",
    )


def _product_error(load: Load, settings: Mapping[str, str | None]) -> tuple[float, float]:
    """Return the largest and the rms deviation, per cent of the largest current."""
    worst, squares = [], []
    for number in range(CHIPS):
        part, array, codes = _programmed(load, settings, number)
        encoding = array.encoding
        products = encoding.shares(encoding.drives(codes), 1) @ encoding.level_amps[part.cell_codes()]
        amps = read(array.tile, array.drive(codes), "nodal").bitline
        away = amps / ((amps * products).sum() / (products**2).sum()) - products
        worst.append(np.abs(away).max() / products.max())
        squares.append(np.square(away).mean() / products.max() ** 2)
    return 100 * float(np.max(worst)), 100 * float(np.sqrt(np.mean(squares)))


def drift(load: Load) -> Predicted:
    """Return the largest change of a differential output between 25 and 85 degC, per cent of the largest output."""
    ours, single = _drift(load, {})
    fixed, _ = _drift(load, {"gate_coupled.coupled": "false"})
    others = "; ".join(
        f"{base} and {top}: {_drift(load, {'gate_coupled.base_level': base, 'gate_coupled.top_level': top})[0]:.2g} %"
        for base, top in OTHER_RATIOS
    )
    return Predicted(
        ours,
        f"Without coupling, at fixed wordline volts: {fixed:.3g} %. A single bitline, not differential: {single:.2g} "
        f"%. With other currents of cells at the largest input, from {others}.",
    )


def _drift(load: Load, settings: Mapping[str, str | None]) -> tuple[float, float]:
    """Return the drift of differential outputs and of single bitlines, per cent of the largest."""
    outputs, lines = [], []
    for celsius in CELSIUS:
        part, array, codes = _programmed(load, {**settings, "temperature": f"{celsius} degC"}, 0)
        currents = read(array.tile, array.drive(codes), "nodal")
        outputs.append(part.amps(currents))
        lines.append(currents.bitline)
    return _largest_change(outputs), _largest_change(lines)


def _largest_change(amps: list[Floats]) -> float:
    change = max(float(np.abs(one - amps[0]).max()) for one in amps[1:])
    return 100 * change / float(np.abs(amps[0]).max())


def _programmed(
    load: Load, settings: Mapping[str, str | None], number: int
) -> tuple[PlacedTile, ProgrammedTile, NDArray[np.uint8]]:
    """Return a tile with random weights on chip `number`, its array, and random activation codes."""
    chip = load(settings).specimen(0, number)
    inputs, outputs = chip.encoding.capacity(chip.wordlines, chip.bitlines)
    random = np.random.default_rng(number)
    weights = random.integers(0, len(chip.encoding.level_amps), (outputs, inputs), dtype=np.uint8)
    layer = QuantizedLayer(
        "weights", weights, len(chip.encoding.level_amps) // 2, np.ones(outputs, np.float32), 4, 1.0, 0, 4
    )
    part, array = place(layer, chip).program().programmed()[0]
    return part, array, random.integers(0, chip.encoding.top_drive + 1, (VECTORS, inputs), dtype=np.uint8)
