"""Costs of the circuits around the arrays against calculations by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import get_args

import pytest

from norsim.chip.circuit_schema import CircuitSection
from norsim.chip.load import load_chip
from norsim.errors import ConfigurationError
from norsim.periphery.circuits.energy import ReadEnergy
from norsim.periphery.circuits.parts import (
    Kind,
    LayerWork,
    TileWork,
    converter_square_metres,
    layer_joules,
    layer_square_metres,
    shared_square_metres,
    sum_bits,
    tile_joules,
    tile_square_metres,
)
from norsim.periphery.circuits.table import USUAL_CIRCUITS, Circuits

# Logic at the process and supply of its published values, so that nothing is scaled.
PLAIN = Circuits(
    feature_metres=45e-9, supply_volts=0.9, cell_squares=12, driver_share=0.25, driver_square_metres=3e-12,
    amplifier_watts=20e-6, amplifier_square_metres=100e-12, converter_square_metres=900e-12, adder_joules=3e-15,
    adder_square_metres=8e-12, register_joules=5e-15, register_square_metres=4e-12, multiplier_joules=2e-15,
    multiplier_square_metres=6e-12, buffer_joules=100e-15, buffer_squares=150, wire_joules_metre=320e-12,
)  # fmt: skip
TILE = TileWork(
    ReadEnergy(cells=4e-12, lines=2e-12, converters=6e-12), seconds=50e-9, load_volts=0.3, cells=1024, driven_lines=64,
    converters=4, conversions=16, bits=8, products=4, sum_bits=13,
)  # fmt: skip


def test_the_energy_of_a_read_by_part() -> None:
    found = tile_joules(PLAIN, TILE)
    assert found == pytest.approx({
        "cells": 4e-12,
        # The current of 4 pJ at 0.3 V comes from 0.9 V: 12 pJ in all.
        "regulators": 8e-12,
        "lines": 2e-12,
        "drivers": 0.5e-12,
        "amplifiers": 4 * 20e-6 * 50e-9,
        "converters": 6e-12,
        # 16 additions of 13 bits that are kept, and 4 products of 13 x 8 bits.
        "digital": 16 * 13 * 8e-15 + 4 * 104 * 2e-15,
    })  # fmt: skip


@pytest.mark.parametrize(("volts", "share"), [(0.3, 2.0), (-0.3, 2.0), (0.9, 0.0), (1.5, 0.0), (0.0, 0.0)])
def test_a_regulator_takes_the_drop_from_its_supply(volts: float, share: float) -> None:
    found = tile_joules(PLAIN, replace(TILE, load_volts=volts))
    assert found["regulators"] == pytest.approx(share * found["cells"])


def test_drivers_are_the_rest_of_a_geometric_series() -> None:
    assert pytest.approx(sum(4.0**-k for k in range(1, 40))) == USUAL_CIRCUITS.driver_share


def test_logic_scales_with_the_process_and_the_square_of_the_supply() -> None:
    assert PLAIN.logic_joules(7e-15) == pytest.approx(7e-15)
    other = Circuits(feature_metres=90e-9, supply_volts=1.8)
    assert other.logic_joules(7e-15) == pytest.approx(8 * 7e-15)
    assert other.logic_square_metres(1e-12) == pytest.approx(1e-12 * 2.25**2)
    assert other.squares(10) == pytest.approx(10 * 0.09**2 * 1e-12)


def test_the_area_of_a_tile_by_part() -> None:
    logic = (45 / 40) ** 2 * (4 * 13 * 12e-12 + 13 * 8 * 6e-12)
    assert tile_square_metres(PLAIN, TILE) == pytest.approx({
        "cells": 1024 * 12 * 45e-9**2, "drivers": 64 * 3e-12, "amplifiers": 4 * 100e-12, "converters": 4 * 900e-12,
        "digital": logic,
    })  # fmt: skip


def test_the_area_of_converters_of_each_kind() -> None:
    areas = [converter_square_metres(PLAIN, kind, 6) for kind in get_args(Kind)]
    # A ramp: a comparator and six bits of register. A flash: 63 comparators.
    assert areas == pytest.approx([900e-12, 100e-12 + 6 * 4e-12 * (45 / 40) ** 2, 63 * 100e-12])


def test_moving_and_scaling_the_vectors_of_a_layer() -> None:
    """10 outputs of 14 bits; 200 bits over two thirds of 3 mm, at 0.9 V instead of 1.2 V."""
    work = LayerWork(outputs=10, sum_bits=14, moved_bits=200, stored_bits=1000)
    assert layer_joules(PLAIN, work, 9e-6) == pytest.approx({
        "digital": 10 * 14 * 16 * 2e-15, "buffers": 200 * 100e-15, "transfers": 200 * 320e-15 * 2 * 0.75**2,
    })  # fmt: skip
    assert layer_square_metres(PLAIN, work) == pytest.approx({"buffers": 1000 * 150 * 45e-9**2})
    assert shared_square_metres(PLAIN) == {"references": 9900e-12, "pumps": 44000e-12}


@pytest.mark.parametrize(("weight", "bits"), [(1, 8), (2, 9), (15, 12), (16, 12), (17, 13)])
def test_the_width_of_a_sum(weight: int, bits: int) -> None:
    assert sum_bits(8, weight) == bits
    # The largest sum fits in that many bits, and not in one less.
    largest = 255 * weight
    assert largest < 2**bits and (math.log2(weight) % 1 or largest >= 2 ** (bits - 1))


def test_every_key_of_the_table_states_its_source() -> None:
    fields = CircuitSection.model_fields
    for name, field in fields.items():
        text = str(field.description)
        assert ("Source: " in text) or ("Assumed" in text), name
    assert CircuitSection().build() == USUAL_CIRCUITS


def test_defaults_agree_with_the_published_numbers() -> None:
    """Horowitz (2014): 32-bit addition 0.1 pJ, 8 x 8-bit product 0.2 pJ, 64 bits of 8 kB 10 pJ."""
    its = USUAL_CIRCUITS
    assert 32 * its.adder_joules == pytest.approx(0.1e-12, rel=0.02)
    assert 64 * its.multiplier_joules == pytest.approx(0.2e-12, rel=0.05)
    assert 64 * its.buffer_joules == pytest.approx(10e-12, rel=0.01)
    assert 32 * its.adder_square_metres == pytest.approx(278e-12, rel=0.01)


def test_keys_have_units() -> None:
    settings = {
        "cost.circuits.pump_area": "0.1 mm2",
        "cost.circuits.wire": "80 fJ/mm",
        "cost.circuits.feature": "40 nm",
    }
    its = load_chip("etox65", settings).costs.circuits
    assert (its.pump_square_metres, its.wire_joules_metre, its.feature_metres) == pytest.approx((1e-7, 8e-11, 4e-8))
    with pytest.raises(ConfigurationError, match="cost.circuits.pump_area"):
        load_chip("etox65", {"cost.circuits.pump_area": "0.1 mm"})
