"""Translation of a cell's netlist and model cards from ngspice's syntax to another dialect.

Constructs that are known to mean the same there are written; all others raise an error with their line, because a deck
that another simulator interprets differently would be worse than none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from dataclasses import MISSING, Field, fields
from typing import Any

from norsim.array.cell import Cell
from norsim.errors import ConfigurationError
from norsim.spice.dialects.expressions import expression
from norsim.spice.dialects.grammar import Grammar
from norsim.spice.statements import Statement, statements, value_of

# The fields of a cell that a dialect can express; any other field is for ngspice's deck only.
WRITTEN = {
    "subcircuit", "netlist", "models", "state", "erased_volts", "programmed_volts", "temperature_kelvin",
    "lowest_volts", "highest_volts", "allowed_parameters", "origins", "notes",
}  # fmt: skip


def cell_text(cell: Cell, grammar: Grammar) -> list[str]:
    """Return the lines that define a cell. Raises ConfigurationError for constructs not known in the dialect."""
    parts = written_parts(cell, grammar, WRITTEN)
    return list(Writer(grammar, parts).lines(parts))


def written_parts(cell: Cell, grammar: Grammar, written: Set[str]) -> list[Statement]:
    """Return the statements of a cell. Raises ConfigurationError if it needs a field of Cell that is not `written`."""
    known = written | {"options"} if {option[0] for option in cell.options} <= grammar.options else written
    for field in fields(cell):
        if field.name not in known and getattr(cell, field.name) != _default(field):
            raise ConfigurationError(f"the cell's {field.name} cannot be written for {grammar.name}")
    return [*statements(cell.models, "the cell's model cards"), *statements(cell.netlist, "the cell's netlist")]


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


class Writer:
    """A translator of a cell's statements, with the cell's parameters and cards."""

    def __init__(self, grammar: Grammar, parts: list[Statement]) -> None:
        self.grammar = grammar
        self.names = frozenset(_declared(parts))
        self.inside = _set_inside(parts)
        self.cards: dict[str, Statement] = {}
        for part in parts:
            if (
                part.card == ".model"
                and len(part.parts) > 2
                and self.cards.setdefault(part.parts[1].lower(), part) != part
            ):
                part.refuse("another card has the same name")
        for part in parts:
            for name in _declared([part]):
                if grammar.parameter(name) != name and grammar.parameter(name) in self.names:
                    part.refuse(f"{name} and {grammar.parameter(name)} would be the same parameter in {grammar.name}")

    def lines(self, parts: list[Statement]) -> Iterator[str]:
        """Yield the lines of statements."""
        for part in parts:
            if not part.parts:
                yield part.text
                continue
            kind = part.card if part.card.startswith(".") else part.card[0]
            write = self.by_kind().get(kind)
            if write is None:
                part.refuse(self.unknown(kind))
            yield from write(part)

    def by_kind(self) -> dict[str, Callable[[Statement], Iterator[str]]]:
        """Return the method that writes a statement, by its card or by the letter of its element."""
        return {
            ".subckt": self.subcircuit, ".ends": self.ends, ".param": self.parameter, ".params": self.parameter,
            ".model": self.card, "r": self.passive, "c": self.passive, "v": self.independent, "i": self.independent,
            "e": self.linear, "g": self.linear, "b": self.behavioural, "d": self.diode, "m": self.mosfet,
            "x": self.call,
        }  # fmt: skip

    def unknown(self, kind: str) -> str:
        """Return why a statement of that kind is refused."""
        return f"{kind!r} is not known to mean the same in {self.grammar.name}"

    def value(self, part: Statement, word: str, bare: bool = False) -> str:
        """Translate a value to a number or a quoted expression."""
        text = value_of(part, word, bare)
        written = expression(text, self.grammar, part, self.names)
        return written if _is_number(written) else self.grammar.quoted(written)

    def assigned(self, part: Statement, words: tuple[str, ...], bare: bool = False) -> dict[str, str]:
        """Return `name=value` words as a dictionary with translated values."""
        found: dict[str, str] = {}
        for word in words:
            name, sign, value = word.partition("=")
            if not sign or not name or name.lower() in found:
                part.refuse(f"{word!r} is not NAME=VALUE, or it occurs twice")
            found[name.lower()] = self.value(part, value, bare)
        return found

    def subcircuit(self, part: Statement) -> Iterator[str]:
        """Write the heading of a subcircuit."""
        nodes = [word for word in part.parts[1:] if "=" not in word]
        yield self._with(" ".join([".subckt", *nodes]), self.assigned(part, assignments(part)))

    def call(self, part: Statement) -> Iterator[str]:
        """Write a call of a subcircuit."""
        words = [word for word in part.parts if "=" not in word]
        given = self.assigned(part, assignments(part))
        hidden = sorted(self.inside.get(words[-1].lower(), frozenset()) & given.keys())
        if hidden:
            part.refuse(f"it sets {hidden[0]}, a .param in the body of the subcircuit. Move it to the .subckt line")
        yield self._with(" ".join(words), given)

    def _with(self, text: str, parameters: dict[str, str]) -> str:
        found = [f"{self.grammar.parameter(name)}={value}" for name, value in parameters.items()]
        return " ".join([text, self.grammar.parameters, *found] if self.grammar.parameters else [text, *found])

    def ends(self, part: Statement) -> Iterator[str]:
        """Write the end of a subcircuit."""
        yield " ".join(part.parts)

    def parameter(self, part: Statement) -> Iterator[str]:
        """Write parameters."""
        found = self.assigned(part, part.parts[1:], bare=True)
        yield " ".join([".param", *(f"{self.grammar.parameter(name)}={value}" for name, value in found.items())])

    def card(self, part: Statement) -> Iterator[str]:
        """Write a model card."""
        if len(part.parts) < 3:
            part.refuse("expected a name and a kind")
        yield from self.card_as(part, part.parts[1], {})

    def card_as(self, part: Statement, name: str, changed: dict[str, str]) -> Iterator[str]:
        """Write a model card under `name`, with some of its parameters changed."""
        kind, words = part.parts[2].lower().partition("(")[0], bare_card(part)
        # A version is not always a number: 4.8.1.
        version = next((word.partition("=")[2] for word in words if word.lower().startswith("version=")), "")
        found = self.assigned(part, tuple(word for word in words if not word.lower().startswith("version=")))
        if kind in ("nmos", "pmos"):
            level = level_of(part, self.grammar)
            found["level"] = str(self.grammar.levels[level].level)
            version = self.grammar.version(part, level, version)
            head = [f"level={found.pop('level')}", *([f"version={version}"] if version else [])]
        elif kind == "d" and found.pop("level", "1") == "1":
            head = []
        else:
            part.refuse(f"a model {kind!r} of this kind is not known to mean the same in {self.grammar.name}")
        written = [*head, *(f"{key}={value}" for key, value in {**found, **changed}.items())]
        yield f".model {name} {kind}"
        for start in range(0, len(written), 8):
            yield " ".join(["+", *written[start : start + 8]])

    def passive(self, part: Statement) -> Iterator[str]:
        """Write a resistor or capacitor: two nodes and a value."""
        if len(part.parts) != 4:
            part.refuse("expected a name, two nodes and a value")
        key, sign, value = part.parts[3].partition("=")
        if sign and key.lower() != part.card[0]:
            part.refuse(f"the parameter {key!r} is not supported")
        yield " ".join([*part.parts[:3], self.value(part, value if sign else part.parts[3])])

    def independent(self, part: Statement) -> Iterator[str]:
        """Write a source of constant volts or amperes."""
        words = [word for word in part.parts[3:] if word.lower() != "dc"]
        if len(words) != 1:
            part.refuse("expected a name, two nodes and a constant value")
        yield " ".join([*part.parts[:3], self.value(part, words[0].lower().removeprefix("dc="))])

    def linear(self, part: Statement) -> Iterator[str]:
        """Write a controlled source: four nodes and a gain."""
        if len(part.parts) != 6 or "=" in "".join(part.parts[:5]):
            part.refuse("expected a name, four nodes and a gain")
        yield " ".join([*part.parts[:5], self.value(part, part.parts[5])])

    def behavioural(self, part: Statement) -> Iterator[str]:
        """Write a behavioural source."""
        quantity, sign, text = " ".join(part.parts[3:]).partition("=")
        if not sign or quantity.lower() not in ("v", "i"):
            part.refuse("expected a name, two nodes and v=... or i=...")
        text = text[1:-1] if text[:1] == "'" == text[-1:] else text
        written = expression(text, self.grammar, part, self.names, probes=True)
        name, nodes = part.parts[0], " ".join(part.parts[1:3])
        yield self.grammar.source(name, nodes, quantity.lower(), self.grammar.quoted(written))

    def diode(self, part: Statement) -> Iterator[str]:
        """Write a diode."""
        if len(part.parts) < 4 or set(self.assigned(part, part.parts[4:])) - {"area"}:
            part.refuse("expected a name, two nodes, a card and optionally area=")
        found = self.assigned(part, part.parts[4:])
        yield " ".join([*part.parts[:4], *(f"{key}={value}" for key, value in found.items())])

    def transistor(self, part: Statement) -> tuple[Statement, dict[str, str]]:
        """Return a transistor's model card and its translated parameters."""
        card = self.cards.get(part.parts[5].lower()) if len(part.parts) > 5 else None
        if card is None:
            part.refuse("expected a name, four nodes and a model card of the cell")
        found = self.assigned(part, part.parts[6:])
        found = {"delvto" if name == "delvt0" else name: value for name, value in found.items()}
        unknown = set(found) - self.grammar.levels[level_of(card, self.grammar)].instance
        if unknown:
            part.refuse(f"{self.grammar.name} has no {sorted(unknown)[0]} on a transistor of that level")
        return card, found

    def mosfet(self, part: Statement) -> Iterator[str]:
        """Write a transistor, with a card of its own for its threshold shift if the dialect needs one."""
        card, found = self.transistor(part)
        own = _own_card(self, part, found, card) if self.grammar.own_cards and "delvto" in found else None
        yield from own or ()
        name = f"{part.parts[0]}_card" if own else part.parts[5]
        left = {key: value for key, value in found.items() if not (own and key == "delvto")}
        yield " ".join([*part.parts[:5], name, *(f"{key}={value}" for key, value in left.items())])


def _own_card(writer: Writer, part: Statement, found: dict[str, str], card: Statement) -> list[str]:
    """Return the model card of one transistor, with its threshold shift in the card's `vth0`."""
    given = writer.assigned(card, tuple(word for word in bare_card(card) if word.lower().startswith(("vth0=", "vfb="))))
    if "vth0" not in given or "vfb" in given:
        card.refuse(f"a shifted threshold for {writer.grammar.name} needs a card with vth0 and without vfb")
    inner = [value.strip("".join(writer.grammar.quotes)) for value in (given["vth0"], found["delvto"])]
    shifted = writer.grammar.quoted(f"({inner[0]})+({inner[1]})")
    return list(writer.card_as(card, f"{part.parts[0]}_card", {"vth0": shifted}))


def _declared(parts: list[Statement]) -> Iterator[str]:
    for part in parts:
        if part.card in (".param", ".params", ".subckt"):
            yield from (word.partition("=")[0].lower() for word in part.parts[1:] if "=" in word)


def _set_inside(parts: list[Statement]) -> dict[str, frozenset[str]]:
    """Return the names of the `.param` cards in each subcircuit, which only ngspice lets a call set."""
    found: dict[str, frozenset[str]] = {}
    inside: list[str] = []
    for part in parts:
        if part.card == ".subckt":
            inside.append(part.parts[1].lower())
        elif part.card == ".ends":
            inside = inside[:-1]
        elif part.card in (".param", ".params") and inside:
            found[inside[-1]] = found.get(inside[-1], frozenset()) | frozenset(_declared([part]))
    return found


def assignments(part: Statement) -> tuple[str, ...]:
    """Return the words of a statement that assign a value to a name."""
    return tuple(word for word in part.parts if "=" in word)


def bare_card(part: Statement) -> tuple[str, ...]:
    """Return a card's parameters, which can be in brackets."""
    _, bracket, rest = part.parts[2].partition("(")
    words = [*([rest] if rest else []), *part.parts[3:]]
    if words and (bracket or words[0].startswith("(")):
        words[0], words[-1] = words[0].removeprefix("("), words[-1].removesuffix(")")
    return tuple(word for word in words if word)


def level_of(card: Statement, grammar: Grammar) -> int:
    """Return a transistor's level by ngspice's numbers. Raises ConfigurationError for one that the dialect lacks."""
    given = dict(word.lower().split("=", 1) for word in bare_card(card) if "=" in word).get("level", "1")
    # Foundries write 54.0 too.
    if not _is_number(given) or float(given) not in grammar.levels:
        card.refuse(f"{grammar.name} is not known to have an equivalent of ngspice's level {given}")
    return int(float(given))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
