"""A cell in VACASK's netlist language: other words, other order, and device models that are compiled Verilog-A.

VACASK distinguishes upper and lower case and ngspice does not, so all names become lower case; VACASK does so itself
with those of compiled modules and their parameters. A parameter must be known before another one uses it, so those of a
subcircuit come first, in order of use. BSIM4, BSIM3 and level 1 are the modules of VACASK's folder `spice`, which are
translations of ngspice's models. At DC a capacitor conducts nothing, and it is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from norsim.array.cell import Cell
from norsim.spice.dialects.grammar import GEOMETRY, STRESS, Grammar, Level
from norsim.spice.dialects.translate import (
    WRITTEN,
    Writer,
    assignments,
    bare_card,
    level_of,
    written_parts,
)
from norsim.spice.elements import printable
from norsim.spice.statements import Statement

# Models of norsim's own, in every deck.
RESISTOR = "norsim_resistor"
# Device files by the name of their module.
FILES = {"sp_bsim4v8": "spice/bsim4v8.osdi", "sp_bsim3v3": "spice/bsim3v3.osdi", "sp_mos1": "spice/mos1.osdi"}
MODULES = {1: "sp_mos1", 8: "sp_bsim3v3", 49: "sp_bsim3v3", 14: "sp_bsim4v8", 54: "sp_bsim4v8"}
# The versions that each module is known to equal; a card without one has ngspice's default, which is among them.
VERSIONS = {"sp_bsim4v8": ("", "4.8"), "sp_bsim3v3": ("", "3.3"), "sp_mos1": ("",)}
NAME = re.compile(r"\w+", re.ASCII)
SYMBOL = re.compile(r"(?<![\w.])[a-z_]\w*", re.ASCII)
# Words of its language.
RESERVED = {
    "load", "include", "model", "subckt", "ends", "parameters", "ground", "control", "endc", "abort", "var", "options",
    "save", "sweep", "analysis", "print", "if", "else", "elseif", "end", "global", "embed", "postprocess",
}  # fmt: skip
# Devices without an equivalent, and why.
UNKNOWN = {
    "b": "VACASK has no behavioural sources. Write the equation in Verilog-A, and name its file under cell.verilog_a",
    "s": "VACASK has no switches. Write the cell in Verilog-A, and name its file under cell.verilog_a",
    "w": "VACASK has no switches. Write the cell in Verilog-A, and name its file under cell.verilog_a",
}


def _version(card: Statement, level: int, given: str) -> str:
    """Return the version to write, in quotes; only BSIM4's module takes one."""
    module = MODULES[level]
    if not any(given.startswith(known) if known else not given for known in VERSIONS[module]):
        card.refuse(f"VACASK's {module} is known to equal version {VERSIONS[module][-1] or '1'}, not {given}")
    return '"4.8.2"' if module == "sp_bsim4v8" else ""


_BSIM3 = Level(8, GEOMETRY | {"delvto"})
_BSIM4 = Level(14, GEOMETRY | STRESS | {"delvto"})
GRAMMAR = Grammar(
    "VACASK", ("(", ")"), "", {1: Level(1, GEOMETRY), 8: _BSIM3, 49: _BSIM3, 14: _BSIM4, 54: _BSIM4}, _version,
    functions={"log": "ln"},
)  # fmt: skip
FIELDS = WRITTEN | {"osdi", "verilog_a", "neutral_volts"}


def cell_lines(cell: Cell) -> tuple[list[str], list[str]]:
    """Return the device files that a cell needs, and the lines that define it.

    Raises ConfigurationError, with the line, for what has no equivalent.
    """
    parts = written_parts(cell, GRAMMAR, FIELDS)
    compiled = {part.parts[1].lower() for part in parts if part.card == ".model" and _is_module(cell, part)}
    lowered = [_lowered(part) for part in parts]
    writer = _Cell(GRAMMAR, lowered, compiled)
    lines = list(writer.scope(lowered))
    return [FILES[module] for module in sorted(writer.used)], lines


def modules(cell: Cell) -> dict[str, set[int]]:
    """Return the compiled modules of a cell that are not VACASK's own, with the numbers of nodes of their instances:
    VACASK leaves terminals without a node floating."""
    parts = written_parts(cell, GRAMMAR, FIELDS)
    cards = {part.parts[1].lower(): _kind(part) for part in parts if part.card == ".model" and _is_module(cell, part)}
    found: dict[str, set[int]] = {module: set() for module in cards.values()}
    for part in parts:
        words = [word for word in part.parts if "=" not in word]
        if part.card.startswith("n") and words[-1].lower() in cards:
            found[cards[words[-1].lower()]].add(len(words) - 2)
    return found


def _kind(card: Statement) -> str:
    return card.parts[2].partition("(")[0].lower() if len(card.parts) > 2 else ""


def _is_module(cell: Cell, card: Statement) -> bool:
    return bool(cell.osdi or cell.verilog_a) and _kind(card) not in ("nmos", "pmos", "d", "r", "c")


def _lowered(part: Statement) -> Statement:
    return part._replace(parts=tuple(word.lower() for word in part.parts))


class _Cell(Writer):
    """Writes the statements of a cell for VACASK, and collects the modules in `used`."""

    def __init__(self, grammar: Grammar, parts: list[Statement], compiled: set[str]) -> None:
        super().__init__(grammar, parts)
        self.compiled, self.used = compiled, set[str]()
        heads = [part for part in parts if part.card == ".subckt"]
        self.nodes = {head.parts[1]: len([word for word in head.parts[2:] if "=" not in word]) for head in heads}

    def by_kind(self) -> dict[str, Callable[[Statement], Iterator[str]]]:
        """Return the method that writes a statement, by its card or by the letter of its element."""
        known = {kind: write for kind, write in super().by_kind().items() if kind not in ("b", "d")}
        return {**known, "c": self.capacitor, "f": self.current_controlled, "n": self.module_device}

    def unknown(self, kind: str) -> str:
        """Return why a statement of that kind is refused."""
        return UNKNOWN.get(kind, super().unknown(kind))

    def scope(self, parts: list[Statement], given: tuple[str, ...] = ()) -> Iterator[str]:
        """Yield the lines of a subcircuit's body, or of the cell's files; `given` are the heading's parameters."""
        inner, place, words = [], 0, list(given)
        while place < len(parts):
            end = _end(parts, place) if parts[place].card == ".subckt" else place + 1
            if parts[place].card in (".param", ".params"):
                words += parts[place].parts[1:]
            else:
                inner.append(parts[place:end])
            place = end
        yield from self.parameters(next((part for part in parts if part.parts), None), words)
        for group in inner:
            if group[0].card != ".subckt":
                yield from self.lines(group)
                continue
            head, names = group[0], [word for word in group[0].parts[1:] if "=" not in word]
            yield f"subckt {_name(head, names[0])} ({' '.join(_name(head, node) for node in names[1:])})"
            yield from self.scope(group[1:-1], assignments(head))
            yield "ends"

    def parameters(self, part: Statement | None, words: list[str]) -> Iterator[str]:
        """Yield one line with parameters, each after those that it uses."""
        if part is None or not words:
            return
        left = self.assigned(part, tuple(words), bare=True)
        written: list[str] = []
        while left:
            ready = next((name for name, value in left.items() if not set(SYMBOL.findall(value)) & set(left)), None)
            if ready is None:
                part.refuse(f"the parameters {', '.join(left)} depend on each other")
            written.append(f"{_name(part, ready)}={left.pop(ready)}")
        yield f"parameters {' '.join(written)}"

    def lines(self, parts: list[Statement]) -> Iterator[str]:
        """Yield the lines of statements other than subcircuits and parameters; a comment begins with `//`."""
        for part in parts:
            if part.parts:
                yield from super().lines([part])
            else:
                # A backslash at the end of a comment could continue it.
                yield f"// {printable(part.text.lstrip('*').strip())}".rstrip(" \\")

    def call(self, part: Statement) -> Iterator[str]:
        """Write a call of a subcircuit, with as many nodes as it has."""
        words = [word for word in part.parts if "=" not in word]
        expected = self.nodes.get(words[-1])
        if expected != len(words) - 2:
            part.refuse(f"it has {len(words) - 2} nodes, but the subcircuit {words[-1]} has {expected}")
        yield self._instance(part, words[:-1], words[-1], self.assigned(part, assignments(part)))

    def _instance(self, part: Statement, words: list[str], master: str, values: Mapping[str, str]) -> str:
        """Return an instance: its name, its nodes in parentheses, its model, and parameters."""
        name, *nodes = (_name(part, word) for word in words)
        found = (f"{'$mfactor' if key == 'm' else key}={value}" for key, value in values.items())
        return " ".join([name, f"({' '.join(nodes)})", master, *found])

    def card_as(self, part: Statement, name: str, changed: dict[str, str]) -> Iterator[str]:
        """Write a model card: that of a transistor, or of a compiled module."""
        kind = _kind(part)
        # A version is not always a number: 4.8.1.
        words = {word.partition("=")[0].lower(): word for word in bare_card(part)}
        version = words.pop("version", "").partition("=")[2] if name not in self.compiled else ""
        values = self.assigned(part, tuple(words.values()))
        if name in self.compiled:
            module, head = kind, []
        elif kind in ("nmos", "pmos"):
            level = level_of(part, self.grammar)
            module, values = MODULES[level], {key: value for key, value in values.items() if key != "level"}
            version = self.grammar.version(part, level, version)
            head = [f"type={1 if kind == 'nmos' else -1}", *([f"version={version}"] if version else [])]
            self.used.add(module)
        else:
            part.refuse(f"a model {kind!r} of this kind is not known to mean the same in VACASK")
        written = [*head, *(f"{key}={value}" for key, value in {**values, **changed}.items())]
        yield f"model {_name(part, name)} {module}{' (' if written else ''}"
        yield from (f"  {' '.join(written[start : start + 8])}" for start in range(0, len(written), 8))
        if written:
            yield ")"

    def passive(self, part: Statement) -> Iterator[str]:
        """Write a resistor."""
        *_, value = next(super().passive(part)).split(" ", 3)
        yield self._instance(part, list(part.parts[:3]), RESISTOR, {"r": value})

    def capacitor(self, part: Statement) -> Iterator[str]:
        """Leave a capacitor out."""
        yield f"// no current at DC: {printable(part.text)}"

    def independent(self, part: Statement) -> Iterator[str]:
        """Write a source of constant volts or amperes."""
        *_, value = next(super().independent(part)).split(" ", 3)
        kind = {"v": "vsource", "i": "isource"}[part.card[0]]
        yield self._instance(part, list(part.parts[:3]), kind, {"dc": value})

    def linear(self, part: Statement) -> Iterator[str]:
        """Write a controlled source."""
        *_, value = next(super().linear(part)).split(" ", 5)
        kind = {"e": "vcvs", "g": "vccs"}[part.card[0]]
        yield self._instance(part, list(part.parts[:5]), kind, {"gain": value})

    def current_controlled(self, part: Statement) -> Iterator[str]:
        """Write a source of the current through a voltage source beside it, times a gain."""
        if len(part.parts) != 5 or "=" in "".join(part.parts[:4]):
            part.refuse("expected a name, two nodes, a voltage source and a gain")
        meter, gain = f'"{_name(part, part.parts[3])}"', self.value(part, part.parts[4])
        yield self._instance(part, list(part.parts[:3]), "cccs", {"gain": gain, "ctlinst": meter})

    def mosfet(self, part: Statement) -> Iterator[str]:
        """Write a transistor."""
        _, found = self.transistor(part)
        yield self._instance(part, list(part.parts[:5]), part.parts[5], found)

    def module_device(self, part: Statement) -> Iterator[str]:
        """Write a device of a compiled module."""
        words = [word for word in part.parts if "=" not in word]
        if words[-1] not in self.compiled:
            part.refuse(
                "expected a model card of a compiled module. Name its file under cell.verilog_a, or under cell.osdi"
            )
        yield self._instance(part, words[:-1], words[-1], self.assigned(part, assignments(part)))


def _end(parts: list[Statement], start: int) -> int:
    """Return the place after the `.ends` of the subcircuit that begins at `start`."""
    depth = 0
    for place in range(start, len(parts)):
        depth += (parts[place].card == ".subckt") - (parts[place].card == ".ends")
        if not depth:
            return place + 1
    parts[start].refuse("it has no .ends")


def _name(part: Statement, word: str) -> str:
    """Return a name. Raises ConfigurationError for one that VACASK cannot have."""
    if not NAME.fullmatch(word) or word in RESERVED:
        part.refuse(f"{word!r} cannot be a name in VACASK. Rename it")
    return word
