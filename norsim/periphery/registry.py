"""The encodings by name. A line here makes an encoding known to chip files, to all commands and to the documents."""

from __future__ import annotations

from typing import ClassVar, Protocol

from norsim.configuration.wires import SensedWiresSection
from norsim.periphery.bit_serial import BitSerial, BitSerialSection
from norsim.periphery.encoding import Encoding
from norsim.periphery.gate_coupled import GateCoupled, GateCoupledSection
from norsim.periphery.linear_pair import LinearPair, LinearPairSection
from norsim.periphery.mapping import MappingSection
from norsim.periphery.pulse_width import PulseWidth, PulseWidthSection


class EncodingSection(Protocol):
    """The interface of an encoding's section in a chip file, a subclass of norsim.configuration.section.Section.

    Its docstring and those of its keys are on the page of chip files.

    `read_keys`  the keys of the gate volts and the drain volts of a read, and of the current of the top cell code
    """

    read_keys: ClassVar[tuple[str, str, str]]

    @property
    def wires(self) -> SensedWiresSection:
        """Return the wires of an array with this encoding."""

    @property
    def wordline_rise(self) -> float | None:
        """Return the seconds from a step of the wordlines to the sample of the cells; None for no lag of gates."""

    def encoding(self, mapping: MappingSection) -> Encoding:
        """Return the encoding, in SI units, with the keys of the section `mapping`."""


# Each section by the name of its encoding; in a chip file it has that name with underscores.
ENCODINGS: dict[str, type[EncodingSection]] = {
    BitSerial.name: BitSerialSection,
    LinearPair.name: LinearPairSection,
    PulseWidth.name: PulseWidthSection,
    GateCoupled.name: GateCoupledSection,
}


def section_key(encoding: str) -> str:
    """Return the key of an encoding's section in a chip file, such as `bit_serial`."""
    return encoding.replace("-", "_")


def read_keys(encoding: Encoding) -> tuple[str, str, str] | None:
    """Return the chip-file keys of gate volts, drain volts and top level, or None for an encoding without a section."""
    if encoding.name not in ENCODINGS:
        return None
    gate, drain, top = (f"{section_key(encoding.name)}.{key}" for key in ENCODINGS[encoding.name].read_keys)
    return gate, drain, top
