"""Energies and areas of the circuits of a chip, as published for single circuits.

The sources are in the section `cost.circuits` of chip files (norsim.chip.circuit_schema), beside each key. Logic and
buffers scale with the chip's process, because their published values belong to 45 nm or 40 nm: energy as C V^2 with C
proportional to the feature size, area as its square (R. H. Dennard et al., "Design of ion-implanted MOSFET's with very
small physical dimensions", IEEE J. Solid-State Circuits 9, 1974). Analog circuits do not scale that way, so their
values are taken as they are."""

from __future__ import annotations

from dataclasses import dataclass

# The process of the published energies of logic and buffers (Horowitz, ISSCC 2014), and of the areas of logic (Shao et
# al., ISCA 2014).
ENERGY_METRES, ENERGY_VOLTS, AREA_METRES = 45e-9, 0.9, 40e-9
# The volts of the published energy of a wire.
WIRE_VOLTS = 1.2


@dataclass(frozen=True)
class Circuits:
    """Costs of single circuits. Joules of logic and buffers are those at 45 nm and 0.9 V, square metres of logic those
    at 40 nm, both scaled by the methods below.

    `feature_metres`, `supply_volts`   of the chip's logic
    `cell_squares`   area of a memory cell, in squares of the feature size
    `driver_share`   energy of a line's driver, as a share of that of the line; `driver_square_metres` of a driver
    `amplifier_watts`, `amplifier_square_metres`   of the amplifier in front of each converter
    `converter_square_metres`   of a SAR converter
    `adder_joules`, `register_joules`   per bit of a sum, `multiplier_joules` per bit x bit of a product;
    `..._square_metres` likewise
    `buffer_joules`  per bit that is read or written; `buffer_squares` per stored bit, in squares of the feature size
    `wire_joules_metre`   per bit and metre
    `reference_watts`, `reference_square_metres`, `pump_square_metres`   of the chip's one reference and one pump
    """

    feature_metres: float = 65e-9
    supply_volts: float = 1.2
    cell_squares: float = 10.0
    driver_share: float = 1 / 3
    driver_square_metres: float = 7.79e-12
    amplifier_watts: float = 10e-6
    amplifier_square_metres: float = 200e-12
    converter_square_metres: float = 2200e-12
    adder_joules: float = 3.1e-15
    adder_square_metres: float = 8.7e-12
    register_joules: float = 9e-15
    register_square_metres: float = 6e-12
    multiplier_joules: float = 3e-15
    multiplier_square_metres: float = 6.2e-12
    buffer_joules: float = 156e-15
    buffer_squares: float = 200.0
    wire_joules_metre: float = 310e-12
    reference_watts: float = 40e-9
    reference_square_metres: float = 9900e-12
    pump_square_metres: float = 44000e-12

    def logic_joules(self, joules: float) -> float:
        """Return an energy of logic or of a buffer in the chip's process and at its supply."""
        return joules * self.feature_metres / ENERGY_METRES * (self.supply_volts / ENERGY_VOLTS) ** 2

    def logic_square_metres(self, square_metres: float) -> float:
        """Return an area of logic in the chip's process."""
        return square_metres * (self.feature_metres / AREA_METRES) ** 2

    def squares(self, count: float) -> float:
        """Return the square metres of that many squares of the feature size."""
        return count * self.feature_metres**2


USUAL_CIRCUITS = Circuits()
