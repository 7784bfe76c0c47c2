"""Conversion of the `cell` section of a chip file, and the files that it names, to a `Cell`."""

from __future__ import annotations

import hashlib
from pathlib import Path

from norsim.array.cell import Cell
from norsim.chip.cell_schema import CellSection, LibrarySection
from norsim.errors import ConfigurationError, UntrustedCellError
from norsim.paths import models_folder, netlists_folder
from norsim.spice.model_files import Source
from norsim.spice.wrapper import NAME, STATE, Inner, check_defined, wrapper


def build_cell(
    section: CellSection, kelvin: float, chip: Path, trust_cell: bool, state_is_charge: bool = False
) -> Cell:
    """Build the cell of a chip file at a temperature in kelvin; its files are beside the chip file or norsim's.

    `state_is_charge` says whether the ends of its state are charges.

    Raises ConfigurationError if a file is missing or has forbidden content (norsim.spice.model_files), or if no file
    defines the cell.
    """
    parts = [model if isinstance(model, LibrarySection) else LibrarySection(file=model) for model in section.models]
    cards = [_text(part.file, part.section, chip, models_folder() / "devices", trust_cell) for part in parts]
    given = [f".param {name}={value}" for name, value in section.params.items()]
    models = "\n".join([*given, *cards])
    netlist = _text(section.netlist, None, chip, netlists_folder() / "cells", trust_cell) if section.netlist else ""
    inner = inner_of(section)
    check_defined(inner, f"{models}\n{netlist}")
    plain = inner.is_plain()
    return Cell(
        subcircuit=inner.name if plain else NAME,
        netlist=netlist if plain else "\n".join([netlist, wrapper(inner, section.erased, section.programmed)]).strip(),
        models=models,
        state=str(inner.state) if plain else STATE,
        erased_volts=section.erased,
        programmed_volts=section.programmed,
        temperature_kelvin=kelvin,
        lowest_volts=section.lowest,
        highest_volts=section.highest,
        options=tuple(sorted(section.options.items())),
        compatibility=section.compatibility,
        osdi=tuple(_compiled(name, chip, trust_cell) for name in section.osdi),
        neutral_volts=_neutral(section) if state_is_charge else None,
    )


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
        section.subcircuit or str(section.model), section.subcircuit is None, tuple(section.pins), section.state, ends,
        tuple(section.instance.items()),
    )  # fmt: skip


def _text(name: str, part: str | None, chip: Path, packaged: Path, trust_cell: bool) -> str:
    """Read a file named in a chip file, or a section of it, from beside that file or from norsim's files."""
    for folder in (chip.parent, packaged):
        if _is_file(folder / name):
            return Source((chip.parent, packaged), trust_cell).read(folder / name, part)
    raise ConfigurationError(f"chip file {chip}: no file {name!r} beside it or in {packaged}")


def _is_file(path: Path) -> bool:
    """Return whether there is a file of that name; a name that is too long for the file system is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def _compiled(name: str, chip: Path, trust_cell: bool) -> tuple[str, str]:
    """Return a compiled model's path and SHA-256."""
    path = (chip.parent / name).resolve()
    if not trust_cell:
        raise UntrustedCellError(
            f"cell.osdi: {path} is machine code, which ngspice does not run unless the cell is trusted"
        )
    if not _is_file(path):
        raise ConfigurationError(f"chip file {chip}: no file {name!r} beside it")
    if not path.as_posix().isprintable() or '"' in path.name:
        raise ConfigurationError(f"cell.osdi: ngspice cannot load a file of that name: {str(path)!r}")
    return str(path), hashlib.sha256(path.read_bytes()).hexdigest()
