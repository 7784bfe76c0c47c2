"""A wrapper that presents any cell as a subcircuit with pins drain, gate, source, bulk and the threshold in volts.

User-supplied models can have pins in another order, a charge or a conductance as their state, size parameters, or no
state at all. A subcircuit around them gives all cells the same interface, so no other part of norsim handles this.
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
    """The wrapped model of a cell, and how it is connected.

    `name`        a subcircuit, or a transistor's model card if `is_card`
    `pins`        its nodes in order: drain, gate, source, bulk, ground, or a fixed voltage against ground, in volts
    `state`       the state parameter; None if the threshold is shifted by a voltage source in series with the gate
    `state_ends`  value of the parameter at the erased and at the programmed threshold, in its own unit, linear between
                  and beyond them; None if it is the threshold itself, in volts
    `parameters`  further parameters, in SPICE syntax
    """

    name: str
    is_card: bool
    pins: tuple[str | float, ...]
    state: str | None
    state_ends: tuple[float, float] | None
    parameters: tuple[tuple[str, str], ...]

    def is_plain(self) -> bool:
        """Return whether the model already has the interface of a cell and needs no wrapper."""
        return not self.is_card and self.pins == tuple(PINS) and bool(self.state) and not (
            self.state_ends or self.parameters
        )  # fmt: skip


def wrapper(inner: Inner, erased_volts: float, programmed_volts: float) -> str:
    """Return the subcircuit `norsim_cell d g s b vt=...` around a model, for that window in volts.

    A model without a state is an erased cell. A source in series with its gate lowers the gate voltage by the increase
    in threshold, which is the effect of a stored charge seen from the gate.
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
    """Raise ConfigurationError if `text` does not define the model, naming those that it defines, or if the subcircuit
    has other nodes or lacks a given parameter, because ngspice ignores unknown parameters."""
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
            f"the subcircuit {inner.name} has {len(nodes)} nodes ({' '.join(nodes)}), but cell.pins has "
            f"{len(inner.pins)}"
        )
    given = {"cell.state": inner.state, **{f"cell.instance.{name}": name for name, _ in inner.parameters}}
    for key, name in given.items():
        if name is not None and name.lower() not in parameters:
            there = f"it has {', '.join(parameters)}" if parameters else "it has none"
            raise ConfigurationError(f"{key}: the subcircuit {inner.name} has no parameter {name!r}; {there}")


def _heading(name: str, text: str) -> tuple[list[str], list[str]]:
    """Return the nodes of the subcircuit, and the names of its parameters in lower case."""
    joined = re.sub(r"\n\s*\+", " ", re.sub(r"\s\$.*|;.*", "", text))
    match = re.search(rf"^\s*\.subckt\s+{re.escape(name)}\b(.*)$", joined, re.IGNORECASE | re.MULTILINE)
    assert match, "it is defined"
    words = re.sub(r"\s*=\s*", "=", match[1]).split()
    first = next((place for place, word in enumerate(words) if "=" in word or word.lower() == "params:"), len(words))
    return words[:first], [one.lower() for one in re.findall(r"(\w+)=", " ".join(words[first:]))]


def _defined(text: str, cards: bool) -> Iterator[str]:
    """Yield the names of transistor model cards, without bin numbers, or of subcircuits."""
    pattern = r"^\s*\.model\s+(\S+)\s+[np]mos\b" if cards else r"^\s*\.subckt\s+(\S+)"
    names = re.findall(pattern, text, re.IGNORECASE | re.MULTILINE)
    yield from dict.fromkeys(re.sub(r"\.\d+$", "", name) if cards else name for name in names)
