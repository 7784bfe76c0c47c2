"""A wrapper that presents any cell as a subcircuit with pins drain, gate, source, bulk and the threshold in volts.

User-supplied models can have pins in another order, a charge or a conductance as their state, size parameters, or no
state at all. A subcircuit around them gives all cells the same interface, so no other part of norsim handles this.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from norsim.errors import ConfigurationError
from norsim.spice.elements import number
from norsim.spice.lines import Card
from norsim.spice.own_names import PREFIX
from norsim.spice.statements import Statement, statement

# The prefix keeps these names apart from those of a cell's files (norsim.spice.own_names).
NAME = f"{PREFIX}cell"
STATE = f"{PREFIX}vt"
PINS = {"drain": f"{PREFIX}d", "gate": f"{PREFIX}g", "source": f"{PREFIX}s", "bulk": f"{PREFIX}b"}

# Parameters that ngspice takes on the call of any subcircuit.
OF_ANY_CALL = ("m",)


@dataclass(frozen=True)
class Inner:
    """The wrapped model of a cell, and how it is connected.

    `name`        a subcircuit, a transistor's model card if `is_card`, or a compiled module if `is_module`
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
    is_module: bool = False

    def is_plain(self) -> bool:
        """Return whether the model already has the interface of a cell and needs no wrapper."""
        return not (self.is_card or self.is_module) and self.pins == tuple(PINS) and bool(self.state) and not (
            self.state_ends or self.parameters or "." in f"{self.name}{self.state}"
        )  # fmt: skip


def wrapper(inner: Inner, erased_volts: float, programmed_volts: float) -> str:
    """Return the subcircuit `norsim_cell` with the parameter `norsim_vt` around a model, for that window in volts.

    A model without a state is an erased cell. A source in series with its gate lowers the gate voltage by the increase
    in threshold, which is the effect of a stored charge seen from the gate.
    """
    lines = [f".subckt {' '.join([NAME, *PINS.values()])} {STATE}={number(erased_volts)}"]
    gate = PINS["gate"]
    if inner.state is None:
        gate = f"{PREFIX}gate"
        lines.append(f"Vstate {PINS['gate']} {gate} {{{STATE}-({number(erased_volts)})}}")
    nodes, sources = [], []
    for place, pin in enumerate(inner.pins):
        if isinstance(pin, float):
            nodes.append(f"{PREFIX}bias{place}")
            sources.append(f"Vbias{place} {PREFIX}bias{place} 0 {number(pin)}")
        else:
            nodes.append("0" if pin == "ground" else gate if pin == "gate" else PINS[pin])
    words = [f"{name}={value}" for name, value in inner.parameters]
    if inner.state is not None:
        words.append(f"{inner.state}={{{_state(inner.state_ends, erased_volts, programmed_volts)}}}")
    kind, name = "M" if inner.is_card else "X", inner.name
    if inner.is_module:
        kind, name = "N", f"{PREFIX}card"
        lines.insert(0, f".model {name} {inner.name}")
    return "\n".join([*lines, *sources, " ".join([f"{kind}cell", *nodes, name, *words]), f".ends {NAME}"])


def _state(ends: tuple[float, float] | None, erased_volts: float, programmed_volts: float) -> str:
    if ends is None:
        return STATE
    slope = (ends[1] - ends[0]) / (programmed_volts - erased_volts)
    return f"({number(ends[0])})+({number(slope)})*({STATE}-({number(erased_volts)}))"


def check_defined(inner: Inner, found: Iterable[Card], allowed: Iterable[str] = ()) -> None:
    """Raise ConfigurationError if a cell's files do not define the model, naming those that they define, if the
    subcircuit has other nodes, or if a call gives a subcircuit a parameter that it does not have, because ngspice
    ignores unknown parameters. Those in `allowed` it may ignore."""
    defined = _Defined.of(found)
    if inner.is_module:
        _check_calls(defined, {name.lower() for name in allowed})
        return
    kind = "card" if inner.is_card else "subcircuit"
    there = list(dict.fromkeys(defined.models if inner.is_card else defined.subcircuits))
    if inner.name.lower() not in there:
        known = f"they define {', '.join(there[:8])}" if there else f"they define no {kind}"
        raise ConfigurationError(
            f"the cell's files define no {kind} {inner.name!r}; {known}. A compiled Verilog-A module is named under "
            "cell.module, and its file under cell.osdi, or its source under cell.verilog_a"
        )
    _check_calls(defined, {name.lower() for name in allowed})
    if inner.is_card:
        return
    nodes = _heading(defined.subcircuits[inner.name.lower()])[0]
    parameters = defined.parameters[inner.name.lower()]
    if len(nodes) != len(inner.pins):
        raise ConfigurationError(
            f"the subcircuit {inner.name} has {len(nodes)} nodes ({' '.join(nodes)}), but cell.pins has "
            f"{len(inner.pins)}"
        )
    given = {"cell.state": inner.state, **{f"cell.instance.{name}": name for name, _ in inner.parameters}}
    for key, name in given.items():
        if name is not None and name.lower() not in parameters:
            known = f"it has {', '.join(parameters)}" if parameters else "it has none"
            raise ConfigurationError(f"{key}: the subcircuit {inner.name} has no parameter {name!r}; {known}")


@dataclass(frozen=True)
class _Defined:
    """The subcircuits, and the transistor cards without bin numbers, outside subcircuits; and all calls.

    `parameters` has those of each subcircuit: ngspice lets a call set the ones of its heading and of any `.param` card
    in its body.
    """

    subcircuits: dict[str, Statement]
    parameters: dict[str, list[str]]
    models: dict[str, Statement]
    calls: list[Statement]
    local: set[str]

    @classmethod
    def of(cls, found: Iterable[Card]) -> _Defined:
        result = cls({}, {}, {}, [], set())
        around: list[Card] = []
        outer = ""
        for card in found:
            if card.name == ".subckt":
                part = statement(card, strict=False)
                name = part.parts[1].lower() if len(part.parts) > 1 else ""
                if around:
                    result.local.add(name)
                else:
                    result.subcircuits.setdefault(name, part)
                    result.parameters.setdefault(name, _heading(part)[1])
                    outer = name
                around.append(card)
            elif card.name.startswith(".param") and len(around) == 1:
                result.parameters[outer] += _heading(statement(card, strict=False))[1]
            elif card.name == ".ends" and not around:
                raise ConfigurationError(f"{card.where}: {card.text[:80]!r} has no .subckt")
            elif card.name == ".ends":
                around.pop()
            elif card.name == ".model" and not around:
                match = re.match(r"\.model\s+(\S+?)(?:\.\d+)?\s+[np]mos\b", card.text, re.IGNORECASE)
                if match:
                    result.models.setdefault(match[1].lower(), statement(card, strict=False))
            elif card.name.startswith("x"):
                result.calls.append(statement(card, strict=False))
        if around:
            raise ConfigurationError(f"{around[0].where}: {around[0].text[:80]!r} has no .ends")
        return result


def _check_calls(defined: _Defined, allowed: set[str]) -> None:
    for call in defined.calls:
        names, given = _heading(call)
        heading = defined.subcircuits.get(names[-1].lower()) if names else None
        if heading is None or names[-1].lower() in defined.local:
            continue
        parameters = defined.parameters[names[-1].lower()]
        unknown = [name for name in given if name not in (*parameters, *allowed, *OF_ANY_CALL)]
        if unknown:
            known = f"it has {', '.join(parameters)}" if parameters else "it has none"
            raise ConfigurationError(
                f"{call.where}: {call.text[:80]!r}: the subcircuit {names[-1]} has no parameter {unknown[0]!r}, and "
                f"ngspice ignores it; {known}. Correct it, or list it under cell.allow_unknown_parameters"
            )


def _heading(part: Statement) -> tuple[list[str], list[str]]:
    """Return the words of a subcircuit's heading or call before its parameters, without the first one or two, and the
    names of the parameters in lower case."""
    words = [word for word in re.split(r"[\s(),]+", " ".join(_before_values(part))) if word]
    skipped = 2 if part.card == ".subckt" else 1
    names = [word.partition("=")[0].lower() for word in part.parts if "=" in word]
    return words[skipped:], names


def _before_values(part: Statement) -> Iterator[str]:
    for word in part.parts:
        if "=" in word:
            return
        yield word
