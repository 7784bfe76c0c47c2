"""The keys of the section `cost.circuits` of a chip file, with their sources."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from norsim.configuration.quantities import Joules, NotNegative, SquareMetres, Watts, quantity
from norsim.configuration.section import Section
from norsim.periphery.circuits.table import USUAL_CIRCUITS, Circuits

Squares = Annotated[float, NotNegative]


class CircuitSection(Section):
    """`cost.circuits`: see norsim.periphery.circuits.table.Circuits. Each default has a source, or is assumed."""

    feature: Annotated[float, quantity("meter"), Field(gt=0, le=1e-5)] = USUAL_CIRCUITS.feature_metres
    """Feature size of the process: the unit of `cell_squares` and `buffer_squares`, and the scale of logic. Assumed:
    that of `etox65`."""
    supply: Annotated[float, quantity("volt"), Field(gt=0, le=100)] = USUAL_CIRCUITS.supply_volts
    """Supply of logic and of the regulators of bitline volts. Assumed: the usual core voltage of 65 nm."""
    cell_squares: Squares = USUAL_CIRCUITS.cell_squares
    """Area of a memory cell in squares of the feature size. Source: ROHM, TechWeb, "Flash memory (semiconductor device
    principles)": a NOR cell takes 10 squares."""
    driver_share: Annotated[float, NotNegative] = USUAL_CIRCUITS.driver_share
    """Energy of the drivers as a share of that of their lines. Source: the sum 1/4 + 1/16 + ... of a chain of
    inverters, each four times as large as the one before it (Weste and Harris, CMOS VLSI Design). Level shifters are
    left out."""
    driver_area: SquareMetres = USUAL_CIRCUITS.driver_square_metres
    """Area of a driver. Source: a level shifter to 1.2 V in 55 nm, You et al., IEICE Electron. Express 16 (2019), no.
    19; one to the volts of a wordline is larger."""
    amplifier_power: Watts = USUAL_CIRCUITS.amplifier_watts
    """Power of the amplifier in front of each converter. Assumed."""
    amplifier_area: SquareMetres = USUAL_CIRCUITS.amplifier_square_metres
    """Area of that amplifier. Assumed."""
    converter_area: SquareMetres = USUAL_CIRCUITS.converter_square_metres
    """Area of a converter. Source: the converter of `cost.adc_step`, 10 bits in 65 nm, Pelzers, van der Struijk and
    Harpe (2023)."""
    adder_energy: Joules = USUAL_CIRCUITS.adder_joules
    """Energy of an addition, per bit, at 45 nm and 0.9 V. Source: 0.1 pJ for 32 bits, M. Horowitz, "Computing's energy
    problem (and what we can do about it)", ISSCC 2014."""
    adder_area: SquareMetres = USUAL_CIRCUITS.adder_square_metres
    """Area of an adder, per bit, at 40 nm. Source: 278 um2 for 32 bits, Y. S. Shao et al., "Aladdin", ISCA 2014, in the
    tables of the program."""
    register_energy: Joules = USUAL_CIRCUITS.register_joules
    """Energy of writing a register, per bit. Source: the same tables of Aladdin, 40 nm; its supply is assumed to be
    0.9 V."""
    register_area: SquareMetres = USUAL_CIRCUITS.register_square_metres
    """Area of a register, per bit, at 40 nm. Source: the same tables of Aladdin."""
    multiplier_energy: Joules = USUAL_CIRCUITS.multiplier_joules
    """Energy of a product, per bit of one factor and bit of the other, at 45 nm and 0.9 V. Source: 3.1 pJ for 32 x 32
    bits, Horowitz (2014), who has 0.2 pJ for 8 x 8 bits."""
    multiplier_area: SquareMetres = USUAL_CIRCUITS.multiplier_square_metres
    """Area of a multiplier, per bit x bit, at 40 nm. Source: 6350 um2 for 32 x 32 bits, the same tables of Aladdin."""
    buffer_energy: Joules = USUAL_CIRCUITS.buffer_joules
    """Energy of reading or writing a bit of a buffer, at 45 nm and 0.9 V. Source: 10 pJ for 64 bits of an SRAM of 8 kB,
    Horowitz (2014)."""
    buffer_squares: Squares = USUAL_CIRCUITS.buffer_squares
    """Area of a stored bit of a buffer with its share of decoders and amplifiers, in squares of the feature size.
    Assumed."""
    wire: Annotated[float, quantity("J/m"), NotNegative] = USUAL_CIRCUITS.wire_joules_metre
    """Energy of a bit per length of wire, at 1.2 V. Source: 310 fJ a mm with full swing in 130 nm, in table 1 of "A
    survey addressing on-chip interconnect", ISRN Electronics 2012, 916259; the capacitance of a length hardly changes
    with the process."""
    reference_power: Watts = USUAL_CIRCUITS.reference_watts
    """Power of the chip's voltage reference. Source: O. E. Mattia, H. Klimach and S. Bampi, "2.3 ppm/C 40 nW
    MOSFET-only voltage reference" (2014), 130 nm; buffers behind it are left out."""
    reference_area: SquareMetres = USUAL_CIRCUITS.reference_square_metres
    """Area of that reference. Source: the same."""
    pump_area: SquareMetres = USUAL_CIRCUITS.pump_square_metres
    """Area of the chip's pump with its regulator. Source: L. F. Rahman et al., PLOS ONE 15 (2020), e0225408: 0.044 mm2,
    14.6 V from 1.8 V."""

    def build(self) -> Circuits:
        """Return the costs in SI units."""
        return Circuits(
            self.feature, self.supply, self.cell_squares, self.driver_share, self.driver_area, self.amplifier_power,
            self.amplifier_area, self.converter_area, self.adder_energy, self.adder_area, self.register_energy,
            self.register_area, self.multiplier_energy, self.multiplier_area, self.buffer_energy, self.buffer_squares,
            self.wire, self.reference_power, self.reference_area, self.pump_area,
        )  # fmt: skip
