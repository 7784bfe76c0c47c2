"""Energy and time of a read, from solved currents, capacitances and the figures of published circuits.

Lines step, cells conduct for the sample time while currents settle, then each converter converts the outputs that it
serves, one after the other.

  * cells        E = t sum over lines of V I. Cells conduct until the last conversion ends; with a sample-and-hold per
                 output they conduct for the sample time alone
  * lines        E = C (V_2 - V_1) V_2 for each line that rises from V_1 to V_2: its supply at V_2 delivers the charge.
                 A line that stays up or falls draws nothing, unless it falls below 0 V (`swing_squared`). Wordline
                 volts come from a pump: divided by its efficiency
  * converters   E = F 2^bits for each output, with Walden's figure of merit F (R. H. Walden, "Analog-to-digital
                 converter survey and analysis", IEEE J. Sel. Areas Commun. 17, 1999), all bits taken as effective ones
                 With the energy of a decision of a comparator instead, a SAR converter takes it once a bit, a ramp and
                 a flash once for each of their 2^bits - 1 thresholds
  * time         a conversion takes its time, or, of a cycle of the clock, `bits` in a SAR converter, 2^bits in a ramp,
                 one in a flash
  * time         sample time and conversions; with a sample-and-hold the longer of both, since the next sample is taken
                 while the last one is converted

Regulators of the bitline volts, drivers, references, digital logic and data movement are in
norsim.periphery.circuits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from norsim.array.compiled import njit
from norsim.array.tile import Currents, Stimulus
from norsim.array.wires import Wires
from norsim.configuration.quantities import engineering
from norsim.periphery.adc import Kind
from norsim.periphery.circuits.table import USUAL_CIRCUITS, Circuits


@dataclass(frozen=True)
class Costs:
    """Time and energy parameters of the periphery.

    `sample_seconds`      from the step of the lines to the first conversion, or to the next slot of a read; the default
                          is an estimate
    `conversion_seconds`, `joules_per_step`   of a converter: its time, and Walden's figure of merit. The defaults are
                          those of one published converter in 65 nm, with 10 bits at 20 MS/s and 6.1 fJ: K. Pelzers,
                          M. van der Struijk and P. Harpe, "A 0.0022 mm2 10 bit 20 MS/s SAR ADC with passive
                          single-ended-to-differential-converter", 2023
    `held`                whether each output has a sample-and-hold, so that cells conduct for the sample alone
    `converter`           kind of the converters
    `cycle_seconds`, `decision_joules`   a cycle of their clock, and the energy of a comparator's decision; None for the
                          two figures above
    `pump_efficiency`     of the pump that supplies the wordlines, above 0 and at most 1; the default is an estimate
    `circuits`            costs of the circuits around the arrays, which are no part of a read's energy here
    """

    sample_seconds: float = 2e-9
    conversion_seconds: float = 50e-9
    joules_per_step: float = 6.1e-15
    held: bool = False
    pump_efficiency: float = 0.5
    circuits: Circuits = USUAL_CIRCUITS
    converter: Kind = "sar"
    cycle_seconds: float | None = None
    decision_joules: float | None = None

    def for_bits(self, bits: int) -> Costs:
        """Return the same with the time of a conversion to `bits`."""
        if self.cycle_seconds is None:
            return self
        cycles = {"sar": bits, "ramp": 2**bits, "flash": 1}[self.converter]
        return replace(self, conversion_seconds=cycles * self.cycle_seconds)

    def conversion_joules(self, bits: int) -> float:
        """Return the energy of one conversion to `bits`."""
        if self.decision_joules is not None:
            return self.decision_joules * float(bits if self.converter == "sar" else 2**bits - 1)
        return self.joules_per_step * float(2**bits)

    def read_seconds(self, conversions: int, slots: int = 1) -> float:
        """Return the seconds from one read, of some slots, to the next if each converter makes `conversions` of them in
        a read."""
        sampling, converting = slots * self.sample_seconds, conversions * self.conversion_seconds
        return max(sampling, converting) if self.held else sampling + converting

    def conducting_seconds(self, conversions: int, slots: int = 1) -> float:
        """Return the seconds for which cells conduct in a read with `conversions` per converter. Integrated charge is
        held, so cells conduct in the slots alone if there are several."""
        return slots * self.sample_seconds if self.held or slots > 1 else self.read_seconds(conversions)


USUAL_COSTS = Costs()


def step_in_words(joules: float) -> str:
    """Return the energy of a conversion for each of its steps, and whether it is only the default."""
    default = "norsim's default; set cost.adc_step to that of your converter"
    return f"{engineering(joules, 'J')} a step ({default if joules == USUAL_COSTS.joules_per_step else 'as set'})"


@dataclass(frozen=True)
class ReadEnergy:
    """Mean energy of one read of a tile, joules, by the part that takes it."""

    cells: float = 0.0
    lines: float = 0.0
    converters: float = 0.0

    @property
    def joules(self) -> float:
        """Total energy."""
        return self.cells + self.lines + self.converters


NO_ENERGY = ReadEnergy()


def cell_watts(stimulus: Stimulus, currents: Currents) -> float:
    """Return the mean power of the cells in the reads `stimulus`, which draw `currents`: the sum of V I over bitlines.

    If bitline currents are missing, because `macro` returns sums by source line, cells are taken as conductances:
    the power at volts V is then the sum of the source currents times sum(V^2) / sum(V).
    """
    bitlines = stimulus.bitline_volts
    if currents.bitline.shape[1]:
        watts = (currents.bitline * bitlines).sum(axis=1)
    else:
        watts = currents.source.sum(axis=1) * (bitlines**2).sum(axis=1) / np.maximum(bitlines.sum(axis=1), 1e-30)
    return float(watts.mean())


def line_joules(costs: Costs, wires: Wires, stimulus: Stimulus, passes: int) -> float:
    """Return the mean energy per read that supplies give to the lines that carry the input; see `rise_joules`.

    `stimulus` has whole vectors, `passes` reads each, in the order in which they are read. Lines rest at its
    `off_volts`; those of a supply below 0 V take energy from it when they fall.
    """
    by_wordline = stimulus.driven == "wordlines"
    lines = stimulus.wordline_volts, stimulus.bitline_volts
    moved, still = lines if by_wordline else lines[::-1]
    off = stimulus.off_volts
    if off:
        top = float(moved.max()) if stimulus.full_volts is None else stimulus.full_volts
        shares = (moved - off) / (top - off)
        return swing_squared(top, off) * rise_joules(costs, wires, shares, still.shape[1], passes, by_wordline)
    return rise_joules(costs, wires, moved, still.shape[1], passes, by_wordline)


def rise_joules(
    costs: Costs, wires: Wires, volts: NDArray[np.floating], across: int, passes: int, by_wordline: bool
) -> float:
    """Return the mean energy per read that supplies give to the lines that carry the input, at `[reads, lines]` volts.

    The lines, wordlines or bitlines, cross `across` others. They rest at 0 V before the first pass of each vector, and
    go from pass to pass without a rest. Lines that carry no input stay at their volts. With shares of a swing instead
    of volts, the result is to be multiplied by `swing_squared`.
    """
    farads = across * (wires.wordline_farads if by_wordline else wires.bitline_farads)
    efficiency = costs.pump_efficiency if by_wordline else 1.0
    joules: float = farads * float(_rises(volts, passes)) / efficiency
    return joules


def swing_squared(top_volts: float, off_volts: float) -> float:
    """Return the energy, joules per farad, that supplies give to a line for each rise from `off_volts` to `top_volts`.

    The supply at V_2 delivers C (V_2 - V_1) V_2. When the line falls again, its charge goes into the supply at V_1; one
    below 0 V has to pump it out, C (V_2 - V_1) |V_1|, and one above is not credited with it.
    """
    return (top_volts - off_volts) * (top_volts - min(off_volts, 0.0)) if off_volts else top_volts**2


@njit(nogil=True)
def _rises(volts, passes):  # type: ignore[no-untyped-def]
    """Return the mean over reads of the sum over lines of (V_2 - V_1) V_2 of the rises that each read of `volts`
    `[reads, lines]` begins with."""
    total = 0.0
    for read in range(len(volts)):
        first = read % passes == 0
        of_read = 0.0
        for line in range(volts.shape[1]):
            after = volts[read, line]
            rise = after if first else after - volts[read - 1, line]
            of_read += max(rise, 0.0) * after
        total += of_read
    return total / len(volts)


def read_energy(
    costs: Costs, watts: float, line_energy: float, outputs: int, per_converter: int, bits: int, slots: int = 1
) -> ReadEnergy:
    """Return the mean energy of a read of a tile whose cells take `watts` and whose lines take `line_energy` joules.

    Each converter, with `bits`, serves up to `per_converter` of the `outputs`. `watts` are the mean over the `slots` of
    a read.
    """
    seconds = costs.for_bits(bits).conducting_seconds(min(outputs, per_converter), slots)
    return ReadEnergy(watts * seconds, line_energy, outputs * costs.conversion_joules(bits))
