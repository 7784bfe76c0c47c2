"""A transistor of a kit with all its expressions evaluated, and one bin of its card.

ngspice itself evaluates them: its command `listing expand` prints the circuit as it solves it, with 16 digits. The bin
is chosen by ngspice's rule (spicelib/parser/inpgmod.c): the size, times the option `scale`, lies between lmin and lmax,
wmin and wmax, where w is divided by the number of fingers if `wnflag` is set.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from norsim.array.cell import Cell
from norsim.errors import ConfigurationError
from norsim.spice.deck import cell_text, control, options, wrapped
from norsim.spice.elements import number
from norsim.spice.simulators.ngspice import SWEEP_SECONDS, run_deck
from norsim.spice.simulators.running import own_folder
from norsim.spice.statements import number_of
from norsim.spice.wrapper import PINS

LISTING = "listing.txt"
# Levels of BSIM3 and BSIM4, whose transistors have a parameter that shifts the threshold.
SHIFTED_LEVELS = {8, 49, 14, 54}
# Sizes at the edge of a bin belong to it in spite of the rounding of their product with the scale.
ROUNDING = 1e-9
NAME = re.compile(r"\b([a-z])\.xkit\.([\w.#]+)")
NODE = re.compile(r"\bxkit\.([\w.#]+)")
# The gate as a node of an element, or in an expression.
GATE = re.compile(r"(?<=[\s(,])g(?=[\s),]|$)")
KNOWN = set("bcdefghimrv")


@dataclass(frozen=True)
class Flat:
    """A flat transistor: `elements`, the `cards` that they use, both as lines, and `bins`, the names of the bins."""

    name: str
    elements: tuple[str, ...]
    cards: tuple[str, ...]
    bins: tuple[str, ...]

    def text(self, threshold: float) -> str:
        """Return the netlist of a cell with the pins d g s b and the threshold `vt`, in volts; at `threshold` volts it
        is the transistor of the kit. A transistor of BSIM is shifted by its parameter delvto, another by a source in
        series with its gate."""
        shift = f"vt-({number(threshold)})"
        mosfets = [line for line in self.elements if line.startswith("m")]
        shifted = len(mosfets) == 1 and "delvto=" not in mosfets[0] and _level(self.cards) in SHIFTED_LEVELS
        lines = [wrapped(card) for card in self.cards]
        lines.append(f".subckt {self.name} d g s b vt={number(threshold)}")
        if not shifted:
            lines.append(f"Vstate g gate {{{shift}}}")
        for line in self.elements:
            text = f"{line} delvto={{{shift}}}" if shifted and line in mosfets else line
            lines.append(wrapped(text if shifted else GATE.sub("gate", text)))
        return "\n".join([*lines, f".ends {self.name}", ""])


def flats(cell: Cell, call: str, name: str) -> Iterator[Flat]:
    """Yield the flat transistors called `name` of the element `call` of a kit, one for each choice of bins that have
    its size: more than one only at an edge between bins, and for several fingers.

    Raises ConfigurationError for a size in no bin, and for elements that cannot be written flat.
    """
    elements, cards = _parts(_expanded(cell, call))
    scale = float(number_of(dict(cell.options).get("scale", "1")))
    choices = [_cards_of(line, cards, scale) for line in elements]
    for chosen in product(*choices):
        used = list(dict.fromkeys(card for card in chosen if card))
        names = {card: f"{name}_card{place or ''}" for place, card in enumerate(used)}
        lines = [_renamed(line, card, names) for line, card in zip(elements, chosen, strict=True)]
        texts = [f".model {names[card]} {cards[card]}" for card in used]
        yield Flat(
            name, tuple(lines), tuple(texts), tuple(card.rpartition(":")[2] for card in used if _base(card) != card)
        )


def _expanded(cell: Cell, call: str) -> list[str]:
    """Return the lines of ngspice's listing of a circuit with that one element of the kit."""
    lines = ["* a transistor of a kit with its expressions evaluated", *cell_text(cell)]
    lines += [f"V{pin} {node} 0 0" for pin, node in PINS.items()]
    with own_folder() as folder:
        text = "\n".join([*lines, call, options(cell), *control(cell, f"listing expand > {LISTING}")])
        (folder / "tile.cir").write_text(text)
        run_deck(cell, folder, SWEEP_SECONDS)
        listing = (folder / LISTING).read_text(errors="replace")
    found = re.findall(r"^\s*\d+ : (.*)$", listing, re.MULTILINE)
    return [" ".join(re.sub(r"\s*=\s*", "=", line).split()).lower() for line in found]


def _parts(lines: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return the elements of the kit, and all model cards by name."""
    parted = [line.split(maxsplit=2) for line in lines if line.startswith(".model")]
    cards = {name: text for _, name, text in parted}
    elements = [line for line in lines if re.match(r"[a-z]\.xkit\.|mkit\s", line)]
    for line in elements:
        if line[0] not in KNOWN or "temper" in line:
            raise ConfigurationError(
                f"the kit's transistor has an element that cannot be written flat: {line[:80]!r}. Use the kit in "
                "place, with cell.models_root"
            )
    if not elements:
        raise ConfigurationError("the kit's transistor has no elements: is its subcircuit empty?")
    return elements, cards


def _cards_of(line: str, cards: Mapping[str, str], scale: float) -> list[str]:
    """Return the names of the cards that an element can use, by its size; one empty name if it uses none."""
    for word in line.split()[1:]:
        if word in cards:
            return [word]
        bins = [name for name in cards if _base(name) == word]
        if bins:
            return _bins(line, word, {name: cards[name] for name in bins}, scale)
    return [""]


def _bins(line: str, base: str, cards: Mapping[str, str], scale: float) -> list[str]:
    given = _values(line)
    length, width, fingers = (given.get(name, 1.0) for name in ("l", "w", "nf"))
    ranges = {
        name: [_values(card).get(key) for key in ("lmin", "lmax", "wmin", "wmax")] for name, card in cards.items()
    }
    found = [
        name
        for each in dict.fromkeys((width, width / fingers))
        for name, (short, long, narrow, wide) in ranges.items()
        if _between(length * scale, short, long) and _between(each * scale, narrow, wide)
    ]
    if not found:
        raise ConfigurationError(
            f"none of the {len(cards)} bins of {base.rpartition(':')[2]} has a length of {length * scale:g} m and a "
            f"width of {width * scale:g} m"
        )
    return list(dict.fromkeys(found))


def _between(value: float, low: float | None, high: float | None) -> bool:
    return low is not None and high is not None and low * (1 - ROUNDING) <= value <= high * (1 + ROUNDING)


def _values(text: str) -> dict[str, float]:
    """Return the numbers of `name=value` words."""
    found = re.findall(r"(?<!\S)(\w+)=([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?[a-z]*)(?!\S)", text)
    return {name: float(number_of(value)) for name, value in found}


def _level(cards: Sequence[str]) -> float | None:
    """Return the level of the only transistor card; None if there are several."""
    found = [_values(card).get("level", 1.0) for card in cards if re.match(r"\.model \S+ [np]mos\b", card)]
    return found[0] if len(found) == 1 else None


def _base(name: str) -> str:
    """Return a card's name without the number of its bin."""
    return re.sub(r"\.\d+$", "", name)


def _renamed(line: str, card: str, names: Mapping[str, str]) -> str:
    """Return an element with names of its own subcircuit, and with the new name of its card."""
    words = [names[card] if card and word in (card, _base(card)) else word for word in line.split()]
    text = NAME.sub(lambda match: f"{match[1]}_{_plain(match[2])}", " ".join(words))
    text = NODE.sub(lambda match: f"n_{_plain(match[1])}", text)
    for pin, node in PINS.items():
        text = re.sub(rf"\b{node}\b", pin[0], text)
    return text


def _plain(name: str) -> str:
    return re.sub(r"\W", "_", name)
