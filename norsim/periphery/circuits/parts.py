"""Energy and area of a tile and of a layer, by part, from counts of what they do and have.

* regulators   a linear regulator between the supply V and the bitline volts v passes the current of the cells, so it
               takes E_cells (V / v - 1). Where volts differ between lines, v is the highest of them: a lower bound
* drivers      a chain of inverters, each f times as large as the one before it, has 1 / f + 1 / f^2 + ... =
               1 / (f - 1) of the capacitance of its load: a third at f = 4 (N. H. E. Weste and D. Harris, "CMOS VLSI
               design", on the sizing of chains)
* amplifiers   P t, one in front of each converter, during all of a read
* digital      each conversion is added to a sum and kept; each sum of a tile is multiplied by the gain of its column,
               each output of a layer by the scale that makes it an activation code
* buffers      each bit of an input vector is read, and each bit of its outputs written, once
* transfers    the same bits go from one place of the chip to another: the mean distance of two points in a square of
               side a is 2 a / 3 along its sides
* references   P t
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from norsim.periphery.adc import Kind
from norsim.periphery.circuits.energy import ReadEnergy
from norsim.periphery.circuits.table import WIRE_VOLTS, Circuits

# Bits of the factor that makes a sum an activation code.
SCALE_BITS = 16
Parts = dict[str, float]


@dataclass(frozen=True)
class TileWork:
    """What a tile does in a read, and what it has.

    `array`       energy of its cells, driven lines and converters in a read
    `seconds`     duration of a read, with its conversions
    `load_volts`  the highest volts of a bitline
    `cells`, `driven_lines`, `converters`   what it has, used or not
    `conversions` in a read, to `bits` each, by converters of a `kind`: `sar`, `ramp` or `flash`
    `products`    sums that are multiplied by the gain of their column, in the mean of a read
    `sum_bits`    width of the sum of an output over passes, slices and rows of tiles
    """

    array: ReadEnergy
    seconds: float
    load_volts: float
    cells: int
    driven_lines: int
    converters: int
    conversions: int
    bits: int
    products: float
    sum_bits: int
    kind: Kind = "sar"


@dataclass(frozen=True)
class LayerWork:
    """What a layer does for an input vector: `outputs` with sums of `sum_bits`, and `moved_bits` of inputs and outputs;
    `stored_bits` are the bits of its outputs for an image."""

    outputs: int
    sum_bits: int
    moved_bits: int
    stored_bits: float


def sum_bits(bits: int, weight: float) -> int:
    """Return the width of a sum of codes of `bits`, whose place values add up to `weight`."""
    return bits + math.ceil(math.log2(max(weight, 1.0)))


def converter_square_metres(circuits: Circuits, kind: Kind, bits: int) -> float:
    """Return the area of a converter: a SAR as published; a ramp as a comparator with a register that latches the
    counter; a flash as 2^bits - 1 comparators. A comparator is taken as large as an amplifier."""
    comparator = circuits.amplifier_square_metres
    if kind == "ramp":
        return comparator + bits * circuits.logic_square_metres(circuits.register_square_metres)
    return (2**bits - 1) * comparator if kind == "flash" else circuits.converter_square_metres


def tile_joules(circuits: Circuits, work: TileWork) -> Parts:
    """Return the mean energy of a read of a tile, joules, by part."""
    its, bits = work.array, work.sum_bits
    adding = work.conversions * bits * (circuits.adder_joules + circuits.register_joules)
    scaling = work.products * bits * work.bits * circuits.multiplier_joules
    return {
        "cells": its.cells,
        "regulators": its.cells * _drop_share(circuits.supply_volts, abs(work.load_volts)),
        "lines": its.lines,
        "drivers": its.lines * circuits.driver_share,
        "amplifiers": work.converters * circuits.amplifier_watts * work.seconds,
        "converters": its.converters,
        "digital": circuits.logic_joules(adding + scaling),
    }


def _drop_share(supply: float, volts: float) -> float:
    """Return what a linear regulator takes beside a load at `volts`, as a share of that; nothing for a load at 0 V."""
    return max(supply / volts - 1.0, 0.0) if volts else 0.0


def tile_square_metres(circuits: Circuits, work: TileWork) -> Parts:
    """Return the area of a tile, square metres, by part: an adder and a register for each converter, a multiplier for
    the tile."""
    summing = circuits.adder_square_metres + circuits.register_square_metres
    logic = work.converters * work.sum_bits * summing + work.sum_bits * work.bits * circuits.multiplier_square_metres
    return {
        "cells": circuits.squares(work.cells * circuits.cell_squares),
        "drivers": work.driven_lines * circuits.driver_square_metres,
        "amplifiers": work.converters * circuits.amplifier_square_metres,
        "converters": work.converters * converter_square_metres(circuits, work.kind, work.bits),
        "digital": circuits.logic_square_metres(logic),
    }


def layer_joules(circuits: Circuits, work: LayerWork, chip_square_metres: float) -> Parts:
    """Return the energy of an input vector beside its tiles, joules, by part, on a square chip of that area."""
    far = 2 / 3 * math.sqrt(chip_square_metres)
    wire = circuits.wire_joules_metre * (circuits.supply_volts / WIRE_VOLTS) ** 2
    products = work.outputs * work.sum_bits * SCALE_BITS
    return {
        "digital": circuits.logic_joules(products * circuits.multiplier_joules),
        "buffers": circuits.logic_joules(work.moved_bits * circuits.buffer_joules),
        "transfers": work.moved_bits * wire * far,
    }


def layer_square_metres(circuits: Circuits, work: LayerWork) -> Parts:
    """Return the area of a layer beside its tiles, square metres, by part: a buffer for its outputs of an image."""
    return {"buffers": circuits.squares(work.stored_bits * circuits.buffer_squares)}


def shared_square_metres(circuits: Circuits) -> Parts:
    """Return the area of what a chip has once, square metres, by part."""
    return {"references": circuits.reference_square_metres, "pumps": circuits.pump_square_metres}


def added(*parts: Mapping[str, float]) -> Parts:
    """Return the sum of parts of the same names."""
    total: Parts = {}
    for some in parts:
        for name, value in some.items():
            total[name] = total.get(name, 0.0) + value
    return total


def times(count: float, parts: Mapping[str, float]) -> Parts:
    """Return each part that many times."""
    return {name: count * value for name, value in parts.items()}
