"""Conversion of the `cell` section of a chip file, and the files that it names, to a `Cell`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from norsim.array.cell import Cell
from norsim.chip.cell_schema import CellSection, LibrarySection
from norsim.errors import ConfigurationError, UntrustedCellError, suggestion
from norsim.paths import models_folder, netlists_folder
from norsim.spice.cell_text.verilog_a import digest_of, modules_of
from norsim.spice.drawn import at_means
from norsim.spice.lines import Card, text_of
from norsim.spice.model_files import PARAMETERS, Source, is_file
from norsim.spice.options import taken_options
from norsim.spice.own_names import check_names
from norsim.spice.simulators.messages import LOG
from norsim.spice.single_cells import cards_of, is_slow
from norsim.spice.wrapper import NAME, STATE, Inner, check_defined, wrapper

# An absolute path, in quotes or up to a blank.
FILE_NAME = re.compile(r"\"(/[^\"]+)\"|'(/[^']+)'|(?<![\w.])(/[^\s\"'=,()]+)")


def build_cell(
    section: CellSection,
    kelvin: float,
    chip: Path,
    trust_cell: bool,
    state_is_charge: bool = False,
    drawn: bool = False,
) -> Cell:
    """Build the cell of a chip file at a temperature in kelvin; its files are beside the chip file or norsim's.

    `state_is_charge` says whether the ends of its state are charges. With `drawn`, random functions in
    subcircuits stay, so that each instance in a deck differs; elsewhere and otherwise they are at their mean.

    Raises ConfigurationError if a file is missing or has forbidden content (norsim.spice.model_files), or if no file
    defines the cell.
    """
    parts = [model if isinstance(model, LibrarySection) else LibrarySection(file=model) for model in section.models]
    reader = _Reader(chip, _root(section, chip), trust_cell, section.compatibility)
    parts = _at_corner(parts, section.corner, reader)
    read = [reader.cards(part.file, part.section, models_folder() / "devices") for part in parts]
    read.append(reader.cards(section.netlist, None, netlists_folder() / "cells") if section.netlist else [])
    read, notes = at_means(read, drawn)
    options = dict(section.options)
    for place, found in enumerate(read):
        read[place], options = taken_options(found, options)
    *cards, own = read
    given = [f".param {name}={value}" for name, value in section.params.items()]
    models = "\n".join([*given, *map(text_of, cards)])
    netlist = text_of(own) if own else ""
    inner, every = inner_of(section), [*chain.from_iterable(cards), *own]
    sources = tuple(_verilog_a(name, chip, trust_cell) for name in section.verilog_a)
    _check_module(section, [Path(path) for path, _ in sources])
    check_defined(inner, every, section.allow_unknown_parameters)
    check_names(every)
    _check_given(section.params, every)
    plain = inner.is_plain()
    made = Cell(
        subcircuit=inner.name if plain else NAME,
        netlist=netlist if plain else "\n".join([netlist, wrapper(inner, section.erased, section.programmed)]).strip(),
        models=models,
        state=str(inner.state) if plain else STATE,
        erased_volts=section.erased,
        programmed_volts=section.programmed,
        temperature_kelvin=kelvin,
        lowest_volts=section.lowest,
        highest_volts=section.highest,
        options=tuple(sorted(options.items())),
        compatibility=_whole(section.compatibility),
        osdi=tuple(_compiled(name, chip, trust_cell) for name in section.osdi),
        verilog_a=sources,
        files=_named_files(every) if trust_cell else (),
        neutral_volts=_neutral(section) if state_is_charge else None,
        allowed_parameters=tuple(sorted(name.lower() for name in section.allow_unknown_parameters)),
        origins=_origins(len(given), [*cards, own] if own else cards),
        notes=notes,
    )
    return replace(made, notes=(*notes, *_slow(made)))


def _slow(cell: Cell) -> tuple[str, ...]:
    """Return a note about a cell that ngspice reads slowly, because it copies many cards for each instance."""
    if not is_slow(cell):
        return ()
    note = (
        f"each cell has a copy of {cards_of(cell)} model cards, which ngspice reads slowly in decks of many cells; "
        "norsim cell import writes the one card that a size needs, and ngspice drops the others itself with "
        "cell.compatibility hsa"
    )
    LOG.warning("%s", note)
    return (note,)


def _root(section: CellSection, chip: Path) -> Path | None:
    """Return the folder of the kit, None without one. Raises ConfigurationError if it is no folder."""
    if section.models_root is None:
        return None
    root = chip.parent / Path(section.models_root).expanduser()
    if not root.is_dir():
        raise ConfigurationError(
            f"cell.models_root: there is no folder {root}. Give the folder of the kit's model files"
        )
    return root


def _at_corner(parts: list[LibrarySection], corner: str | None, reader: _Reader) -> list[LibrarySection]:
    """Return the entries of `cell.models`, those without a section at the corner. Files without sections are whole.

    Raises ConfigurationError if the corner has no effect.
    """
    if corner is None:
        return parts
    packaged = models_folder() / "devices"
    found = [
        part.model_copy(update={"section": corner})
        if part.section is None and reader.source(packaged).sections(reader.path(part.file, packaged))
        else part
        for part in parts
    ]
    if found == parts:
        raise ConfigurationError(
            f"cell.corner is {corner}, but no entry of cell.models without a section has a file with sections. Name "
            "the library under cell.models without its section, or remove cell.corner"
        )
    return found


def _check_given(params: Mapping[str, str], files: list[Card]) -> None:
    """Raise ConfigurationError if a file defines a parameter of `cell.params` again: ngspice would use the file's."""
    depth = 0
    for card in files:
        depth += (card.name == ".subckt") - (card.name == ".ends")
        again = [name for name in params if re.search(rf"\b{name}\s*=", card.text, re.IGNORECASE)]
        if again and not depth and card.name in PARAMETERS:
            raise ConfigurationError(
                f"cell.params.{again[0]} has no effect: {card.where}: {card.text[:80]!r} defines it again. Change it "
                "there, or remove it from the chip file"
            )


def _origins(before: int, files: list[list[Card]]) -> tuple[tuple[int, str, int], ...]:
    """Return `Cell.origins` of the texts of `files`, joined by line breaks after `before` other lines."""
    found: list[tuple[int, str, int]] = []
    place = before
    for cards in files:
        text = text_of(cards)
        for offset, line in enumerate(line for card in cards for line in card.lines):
            last = found[-1] if found else (0, "", 0)
            if (line.file, line.number - place - offset - 1) != (last[1], last[2] - last[0]):
                found.append((place + offset + 1, line.file, line.number))
        place += text.count("\n") + 1
    return tuple(found)


def _whole(mode: str) -> str:
    """Return a mode for a deck with the text of all files: without `a`, these two apply to included files only."""
    return f"{mode}a" if any(one in mode for one in ("ps", "lt")) and "a" not in mode else mode


def _neutral(section: CellSection) -> float:
    """Return the threshold at which the state, a charge, is 0."""
    erased, programmed = section.state_erased, section.state_programmed
    assert erased is not None and programmed is not None, "a charge has ends"
    return section.erased - erased * (section.programmed - section.erased) / (programmed - erased)


def inner_of(section: CellSection) -> Inner:
    """Return the cell's model and its connections."""
    ends = None
    if section.state_erased is not None and section.state_programmed is not None:
        ends = (section.state_erased, section.state_programmed)
    return Inner(
        section.subcircuit or section.model or str(section.module), section.model is not None, tuple(section.pins),
        section.state, ends, tuple(section.instance.items()), section.module is not None,
    )  # fmt: skip


@dataclass(frozen=True)
class _Reader:
    """Reads the files that a chip file names, from beside it, from the kit's folder or from norsim's files."""

    chip: Path
    root: Path | None
    trust_cell: bool
    mode: str

    def folders(self, packaged: Path) -> tuple[Path, ...]:
        """Return the folders in which a file is sought, in order; the last is `packaged`."""
        return (self.chip.parent, *([self.root] if self.root else []), packaged)

    def source(self, packaged: Path) -> Source:
        """Return what reads the files in these folders."""
        return Source(self.folders(packaged), self.trust_cell, self.mode)

    def path(self, name: str, packaged: Path) -> Path:
        """Return the path of a file. Raises ConfigurationError if there is none."""
        for folder in self.folders(packaged):
            if is_file(folder / name):
                return folder / name
        _, *others = self.folders(packaged)
        raise ConfigurationError(
            f"chip file {self.chip}: no file {name!r} beside it or in {' or '.join(map(str, others))}"
        )

    def cards(self, name: str, part: str | None, packaged: Path) -> list[Card]:
        """Return the cards of a file, or of a section of it."""
        return self.source(packaged).cards(self.path(name, packaged), part)


def _named_files(cards: list[Card]) -> tuple[tuple[str, str], ...]:
    """Return the paths and SHA-256 of the files that cards of a trusted cell name, which ngspice reads itself.

    Only absolute paths, because ngspice runs in a folder of its own.
    """
    texts = [line.text for card in cards for line in card.lines]
    words = [word for text in texts for match in FILE_NAME.finditer(text) for word in match.groups() if word]
    found = {word: Path(word) for word in words}
    return tuple(
        (word, hashlib.sha256(path.read_bytes()).hexdigest()) for word, path in sorted(found.items()) if is_file(path)
    )


def _verilog_a(name: str, chip: Path, trust_cell: bool) -> tuple[str, str]:
    """Return a Verilog-A file's path, and the SHA-256 of it with its includes."""
    beside, packaged = (chip.parent / name).resolve(), netlists_folder() / "cells" / name
    if not is_file(beside):
        if Path(name).name == name and is_file(packaged):
            return str(packaged), digest_of(packaged)
        raise ConfigurationError(f"chip file {chip}: no file {name!r} beside it or in {packaged.parent}")
    if not trust_cell:
        raise UntrustedCellError(
            f"cell.verilog_a: {beside} becomes machine code, which no simulator runs unless the cell is trusted"
        )
    _check_name("cell.verilog_a", beside)
    return str(beside), digest_of(beside)


def _check_module(section: CellSection, files: list[Path]) -> None:
    """Raise ConfigurationError if none of the Verilog-A files has the module of the cell, or it has other terminals."""
    if section.module is None or not files or section.osdi:
        return
    modules = {name.lower(): count for path in files for name, count in modules_of(path).items()}
    if section.module.lower() not in modules:
        raise ConfigurationError(
            f"cell.module: {' and '.join(path.name for path in files)} has no module {section.module!r}; "
            f"{suggestion(section.module, modules)}"
        )
    terminals = modules[section.module.lower()]
    if terminals not in (0, len(section.pins)):
        raise ConfigurationError(
            f"the module {section.module} has {terminals} terminals, but cell.pins has {len(section.pins)}"
        )


def _check_name(key: str, path: Path) -> None:
    if not path.as_posix().isprintable() or '"' in str(path):
        raise ConfigurationError(f"{key}: no simulator can load a file of that name: {str(path)!r}")


def _compiled(name: str, chip: Path, trust_cell: bool) -> tuple[str, str]:
    """Return a compiled model's path and SHA-256."""
    path = (chip.parent / name).resolve()
    if not trust_cell:
        raise UntrustedCellError(
            f"cell.osdi: {path} is machine code, which no simulator runs unless the cell is trusted"
        )
    if not is_file(path):
        raise ConfigurationError(f"chip file {chip}: no file {name!r} beside it")
    _check_name("cell.osdi", path)
    return str(path), hashlib.sha256(path.read_bytes()).hexdigest()
