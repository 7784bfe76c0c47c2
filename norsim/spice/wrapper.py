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
    """Raises ConfigurationError where `text` does not define the model, naming those that it does, or defines a
    subcircuit with other nodes or without the parameters that it is given: ngspice passes over such parameters."""
    kind = "card" if inner.is_card else "subcircuit"
    found = list(_defined(text, inner.is_card))
    if inner.name.lower() not in (name.lower() for name in found):
        there = f"they define {', '.join(found[:8])}" if found else f"they define no {kind}"
        raise ConfigurationError(f"the cell's files define no {kind} {inner.name!r}; {there}")
    if inner.is_card:
        return
    nodes, parameters = _heading(inner.name, text)
    if len(nodes) != len(inner.pins):
        raise ConfigurationError(
            f"the subcircuit {inner.name} has {len(nodes)} nodes ({' '.join(nodes)}), and cell.pins has "
            f"{len(inner.pins)}"
        )
    given = {"cell.state": inner.state, **{f"cell.instance.{name}": name for name, _ in inner.parameters}}
    for key, name in given.items():
        if name is not None and name.lower() not in parameters:
            there = f"it has {', '.join(parameters)}" if parameters else "it has none"
            raise ConfigurationError(f"{key}: the subcircuit {inner.name} has no parameter {name!r}; {there}")


def _heading(name: str, text: str) -> tuple[list[str], list[str]]:
    """The nodes of the subcircuit, and the names of its parameters in lower case."""
    joined = re.sub(r"\n\s*\+", " ", re.sub(r"\s\$.*|;.*", "", text))
    match = re.search(rf"^\s*\.subckt\s+{re.escape(name)}\b(.*)$", joined, re.IGNORECASE | re.MULTILINE)
    assert match, "it is defined"
    words = re.sub(r"\s*=\s*", "=", match[1]).split()
    first = next((place for place, word in enumerate(words) if "=" in word or word.lower() == "params:"), len(words))
    return words[:first], [one.lower() for one in re.findall(r"(\w+)=", " ".join(words[first:]))]


def _defined(text: str, cards: bool) -> Iterator[str]:
    """Names of cards of transistors, those of bins without their number; or of subcircuits."""
    pattern = r"^\s*\.model\s+(\S+)\s+[np]mos\b" if cards else r"^\s*\.subckt\s+(\S+)"
    names = re.findall(pattern, text, re.IGNORECASE | re.MULTILINE)
    yield from dict.fromkeys(re.sub(r"\.\d+$", "", name) if cards else name for name in names)
