"""Any cell as one subcircuit with pins drain, gate, source, bulk and one parameter, the threshold in volts.

Models from elsewhere have pins in another order, a state that is a charge or a conductance, sizes to be given, or no
state at all. A subcircuit around them makes them all alike, so that nothing else of norsim knows of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from norsim.errors import ConfigurationError
from norsim.spice.elements import number

NAME = "norsim_cell"
STATE = "vt"
PINS = {"drain": "d", "gate": "g", "source": "s", "bulk": "b"}


@dataclass(frozen=True)
class Inner:
    """The model that is the cell, and how it is used.

    `name`        a subcircuit, or a transistor's model card where `is_card`
    `pins`        its nodes in order: drain, gate, source, bulk, ground, or volts of its own against ground
    `state`       the parameter that carries its state; None where the threshold is shifted by volts before the gate
    `state_ends`  what the parameter is at the erased and at the programmed threshold, in its own unit, linear between
                  (and beyond) them; None where it is the threshold itself, in volts
    `parameters`  others of it, as SPICE has them
    """

    name: str
    is_card: bool
    pins: tuple[str | float, ...]
    state: str | None
    state_ends: tuple[float, float] | None
    parameters: tuple[tuple[str, str], ...]

    def is_plain(self) -> bool:
        """Whether it is as norsim has cells already."""
        return not self.is_card and self.pins == tuple(PINS) and bool(self.state) and not (
            self.state_ends or self.parameters
        )  # fmt: skip


def wrapper(inner: Inner, erased_volts: float, programmed_volts: float) -> str:
    """The subcircuit `norsim_cell d g s b vt=...` around a model, of that window in volts.

    A model without a state is taken to be an erased cell. A source before its gate takes from the gate what the
    threshold is above that: what a stored charge does, seen from the gate.
    """
    lines = [f".subckt {NAME} d g s b {STATE}={number(erased_volts)}"]
    gate = "g"
    if inner.state is None:
        gate = "gate"
        lines.append(f"Vstate g gate {{{STATE}-({number(erased_volts)})}}")
    nodes, sources = [], []
    for place, pin in enumerate(inner.pins):
        if isinstance(pin, float):
            nodes.append(f"bias{place}")
            sources.append(f"Vbias{place} bias{place} 0 {number(pin)}")
        else:
            nodes.append("0" if pin == "ground" else gate if pin == "gate" else PINS[pin])
    words = [f"{name}={value}" for name, value in inner.parameters]
    if inner.state is not None:
        words.append(f"{inner.state}={{{_state(inner.state_ends, erased_volts, programmed_volts)}}}")
    kind = "M" if inner.is_card else "X"
    return "\n".join([*lines, *sources, " ".join([f"{kind}cell", *nodes, inner.name, *words]), f".ends {NAME}"])


def _state(ends: tuple[float, float] | None, erased_volts: float, programmed_volts: float) -> str:
    if ends is None:
        return STATE
    slope = (ends[1] - ends[0]) / (programmed_volts - erased_volts)
    return f"({number(ends[0])})+({number(slope)})*({STATE}-({number(erased_volts)}))"


def check_defined(inner: Inner, text: str) -> None:
    """Raises ConfigurationError where `text` does not define the model; it names those that it does."""
    kind = "card" if inner.is_card else "subcircuit"
    found = list(_defined(text, inner.is_card))
    if inner.name.lower() not in (name.lower() for name in found):
        there = f"they define {', '.join(found[:8])}" if found else f"they define no {kind}"
        raise ConfigurationError(f"the cell's files define no {kind} {inner.name!r}; {there}")


def _defined(text: str, cards: bool) -> Iterator[str]:
    """Names of cards of transistors, those of bins without their number; or of subcircuits."""
    pattern = r"^\s*\.model\s+(\S+)\s+[np]mos\b" if cards else r"^\s*\.subckt\s+(\S+)"
    names = re.findall(pattern, text, re.IGNORECASE | re.MULTILINE)
    yield from dict.fromkeys(re.sub(r"\.\d+$", "", name) if cards else name for name in names)
