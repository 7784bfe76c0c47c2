"""Sensing: what lies between a summing line and its converter, and what it does to the line's current.

The current of a line flows through the column multiplexer and a global bitline into an amplifier that holds the line at
its volts. An operational amplifier of open-loop gain A and input offset V_os, with its output v_o and its inverting
input v_x above the volts that the line is held at, obeys v_o = A (V_os - v_x). With a feedback resistor R, and the
current I from the amplifier into the line, v_o - v_x = I R, so

    v_x = V_os A / (1 + A) - I R / (1 + A),        v_o (1 + 1 / A) / R = I + V_os / R,

a source of V_os A / (1 + A) behind the resistance R / (1 + A), and an output in amperes that is V_os / R too high. An
integrator with the capacitor C is reset as a follower, at v_x = v_o = V_os A / (1 + A), and then integrates for the
time T. Its output is the difference from the reset, so the offset cancels there and not on the line. With a constant
current v_x falls by I t / (C (1 + A)), on average by that of the resistance

    R = T / (2 C (1 + A)).

The mean current of a line of conductance g differs from that with this resistance by less than (g R)^2 / 3, relatively.
These are the equations of an operational amplifier of finite gain: Sedra and Smith, "Microelectronic Circuits",
chapter 2. The common factor 1 + 1 / A belongs to the converters' range.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field, model_validator

from norsim.array.tile import Floats
from norsim.array.wires import EndPart, EndParts, Wires
from norsim.configuration.quantities import MOST_SECONDS, Farads, NotNegative, Ohms, Seconds, quantity
from norsim.configuration.section import Section
from norsim.errors import ConfigurationError
from norsim.periphery.encoding import Encoding

Amplifier = Literal["ideal", "transimpedance", "integrating"]
Side = Literal["wordlines", "bitlines"]


@dataclass(frozen=True)
class Sensing:
    """The sense path of each summing line, in SI units.

    `amplifier`     `ideal` holds its line at its volts whatever it draws, but for its offset
    `gain`          open-loop gain; None for an infinite one
    `feedback_ohms`, `feedback_farads`   of a transimpedance amplifier, and of an integrating one
    `window_seconds`   time for which an integrating amplifier integrates
    `input_ohms`, `multiplexer_ohms`, `global_ohms`   in series with the line, from the amplifier on: its input, the
                    column multiplexer, and the global bitline
    `global_farads`   capacitance of the global bitline to ground, between these two
    `offset_volts`, `offset_drift`   standard deviation of the input offset over amplifiers, and of its drift, volts per
                    kelvin
    `read_seconds`  from the step of the input to the sample, or to the end of the integration; None for settled reads
    """

    amplifier: Amplifier = "ideal"
    gain: float | None = None
    feedback_ohms: float = 0.0
    feedback_farads: float = 0.0
    window_seconds: float = 0.0
    input_ohms: float = 0.0
    multiplexer_ohms: float = 0.0
    global_ohms: float = 0.0
    global_farads: float = 0.0
    offset_volts: float = 0.0
    offset_drift: float = 0.0
    read_seconds: float | None = None

    @property
    def virtual_ohms(self) -> float:
        """The resistance by which finite gain lets the line move."""
        if self.gain is None or self.amplifier == "ideal":
            return 0.0
        if self.amplifier == "transimpedance":
            return self.feedback_ohms / (1 + self.gain)
        return self.window_seconds / (2 * self.feedback_farads * (1 + self.gain))

    @property
    def offset_share(self) -> float:
        """Volts of a line for a volt of offset."""
        return 1.0 if self.gain is None or self.amplifier == "ideal" else self.gain / (1 + self.gain)

    @property
    def has_offset(self) -> bool:
        """Whether amplifiers have an offset."""
        return bool(self.offset_volts or self.offset_drift)

    def output_amps(self, offsets: Floats) -> Floats:
        """Return by how many amperes outputs are too high for input offsets, volts; both `[lines]`."""
        shifted = self.amplifier == "transimpedance"
        amps: Floats = offsets / self.feedback_ohms if shifted else 0.0 * offsets
        return amps

    def offsets(self, normal: Floats, drift: Floats, kelvin: float) -> Floats:
        """Return input offsets `[lines]`, volts, from standard normal numbers `[lines]` for the offset and its drift,
        `kelvin` above the temperature of programming."""
        volts: Floats = self.offset_volts * normal + self.offset_drift * kelvin * drift
        return volts

    def parts(self) -> EndParts:
        """Return what is between the amplifier and the array, without resistances of 0.

        The capacitance of the global bitline is at its side of the array. Without any resistance between, the amplifier
        holds it.
        """
        each = (("virt", self.virtual_ohms), ("amp", self.input_ohms), ("gbl", self.global_ohms))
        found = [EndPart(name, ohms) for name, ohms in each if ohms]
        if found:
            found[-1] = replace(found[-1], farads=self.global_farads)
        multiplexer = [EndPart("mux", self.multiplexer_ohms)] if self.multiplexer_ohms else []
        return (*found, *multiplexer)

    def at_the_end_of(self, wires: Wires, inputs_on: Side) -> Wires:
        """Return `wires` with the sense path between the lines that do not carry inputs and their volts."""
        parts = self.parts()
        if not parts:
            return wires
        if inputs_on == "bitlines":
            parts += wires.source_end
            return replace(wires, source_end_ohms=sum(part.ohms for part in parts), source_end_parts=parts)
        parts += wires.bitline_end
        return replace(wires, bitline_end_ohms=sum(part.ohms for part in parts), bitline_end_parts=parts)

    def sample_seconds(self, sample: float) -> float:
        """Return the time of a sample, which is `sample` unless the read or its integration says otherwise."""
        return self.window_seconds or sample if self.read_seconds is None else self.read_seconds


IDEAL_SENSING = Sensing()


class SenseSection(Section):
    """Keys of `sense`: what lies between a summing line, a bitline or in linear-pair a source line, and its converter.

    The equations are those of norsim.periphery.sensing.
    """

    amplifier: Amplifier = "ideal"
    """Kind of the amplifier of each summing line: `ideal`, `transimpedance` with `feedback`, or `integrating` with
    `feedback_farads` and `window`."""
    gain: Annotated[float, Field(ge=1, le=10**9)] | None = None
    """Open-loop gain of the amplifier; null for an infinite one."""
    feedback: Ohms = 0.0
    """Feedback resistor of a transimpedance amplifier."""
    feedback_farads: Farads = 0.0
    """Feedback capacitor of an integrating amplifier."""
    window: Seconds = 0.0
    """Time for which an integrating amplifier integrates."""
    input: Ohms = 0.0
    """Input resistance in series with the amplifier."""
    multiplexer: Ohms = 0.0
    """Series resistance of the column multiplexer."""
    global_bitline: Ohms = 0.0
    """Resistance of the global bitline between multiplexer and amplifier."""
    global_farads: Farads = 0.0
    """Capacitance of the global bitline to ground, at its end beside the multiplexer."""
    read_time: Annotated[float, quantity("second"), Field(gt=0, le=MOST_SECONDS)] | None = None
    """Time from the step of the lines that carry inputs to the sample, or to the end of the integration, instead of
    `cost.sample`; null: reads are settled. Not in pulse-width."""
    offset: Annotated[float, quantity("volt"), Field(ge=0, le=1)] = 0.0
    """Standard deviation of the input offset over amplifiers, one per bitline. Not in linear-pair."""
    offset_drift: Annotated[float, quantity("volt/kelvin"), NotNegative] = 0.0
    """Standard deviation of the drift of the offset per kelvin from the temperature of programming. Not in
    linear-pair."""

    @model_validator(mode="after")
    def _has_its_feedback(self) -> SenseSection:
        if self.amplifier == "transimpedance" and not self.feedback:
            raise ValueError("a transimpedance amplifier needs feedback, such as '20 kohm'")
        if self.amplifier == "integrating" and not (self.feedback_farads and self.window):
            raise ValueError("an integrating amplifier needs feedback_farads and window, such as '1 pF' and '10 ns'")
        if self.window and self.amplifier != "integrating":
            raise ValueError(f"a window of integration needs amplifier: integrating, not {self.amplifier}")
        if self.read_time is not None and self.window > self.read_time:
            raise ValueError("the window of integration is longer than read_time, which it ends with")
        return self

    def build(self, encoding: Encoding) -> Sensing:
        """Return the sense path, in SI units.

        Raises ConfigurationError for offsets of source-line amplifiers, and for the time of a read of several slots.
        """
        if self.read_time is not None and encoding.slots(encoding.activation_bits) > 1:
            raise ConfigurationError(
                f"sense.read_time is that of one sample, but {encoding.name} integrates over many slots; leave it out"
            )
        if encoding.inputs_on == "bitlines" and (self.offset or self.offset_drift):
            raise ConfigurationError(
                "sense.offset and sense.offset_drift are those of amplifiers on bitlines, but this encoding senses "
                "source lines; set both to 0, or use another encoding"
            )
        return Sensing(
            self.amplifier, self.gain, self.feedback, self.feedback_farads, self.window, self.input, self.multiplexer,
            self.global_bitline, self.global_farads, self.offset, self.offset_drift, self.read_time,
        )  # fmt: skip
