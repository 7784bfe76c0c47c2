"""Find the library of a kit whose corner defines a transistor."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from norsim.errors import ConfigurationError, suggestion
from norsim.spice.model_files import LARGEST_BYTES, Source

SUFFIXES = {".lib", ".l", ".spice", ".sp", ".spi", ".mod", ".inc", ".cir", ".ckt"}
SECTION = re.compile(rb"^[ \t]*\.lib[ \t]+['\"]?([^\s'\"]+)['\"]?[ \t\r]*$", re.IGNORECASE | re.MULTILINE)


def find_library(root: Path, corner: str, transistor: str, trusted: bool, mode: str) -> str:
    """Return the path, relative to the kit's folder `root`, of the library whose section `corner` defines the
    subcircuit or model card `transistor`; `trusted` and `mode` are those of Source.

    Raises ConfigurationError if there is none, with what there is, or if there are several.
    """
    named: dict[str, list[str]] = {}
    for path in _files(root):
        for name in dict.fromkeys(match[1].decode("latin-1") for match in SECTION.finditer(path.read_bytes())):
            named.setdefault(name.lower(), []).append(str(path.relative_to(root)))
    libraries = named.get(corner.lower())
    if libraries is None:
        raise ConfigurationError(f"no library in {root} has a section {corner!r}; {suggestion(corner, named)}")
    defined = {file: names_in(root, file, corner, trusted, mode) for file in libraries}
    found = [file for file, names in defined.items() if transistor.lower() in names]
    if not found:
        known = sorted({name for names in defined.values() for name in names})
        raise ConfigurationError(
            f"the section {corner} of {', '.join(libraries)} in {root} defines no subcircuit or transistor card "
            f"{transistor!r}; {suggestion(transistor, known)}"
        )
    if len(found) > 1:
        raise ConfigurationError(
            f"{transistor} is defined by the section {corner} of {', '.join(found)} in {root}. Name one of them as the "
            "library"
        )
    return found[0]


def names_in(root: Path, file: str, corner: str, trusted: bool, mode: str) -> dict[str, bool]:
    """Return the subcircuits and transistor cards outside subcircuits of a section, in lower case, and whether each is
    a card. Raises ConfigurationError as Source does."""
    names: dict[str, bool] = {}
    depth = 0
    for card in Source((root,), trusted, mode).cards(root / file, corner):
        depth -= card.name == ".ends"
        match = re.match(r"\.(subckt|model)\s+(\S+)(?:\s+([np]mos)\b)?", card.text, re.IGNORECASE | re.ASCII)
        if match and not depth:
            is_card = match[1].lower() == "model"
            if not is_card or match[3]:
                names.setdefault(re.sub(r"\.\d+$", "", match[2].lower()) if is_card else match[2].lower(), is_card)
        depth += card.name == ".subckt"
    return names


def _files(root: Path) -> Iterator[Path]:
    """Yield the files of a kit that can be libraries, in order; links to folders are not followed."""
    for folder, below, names in os.walk(root):
        below.sort()
        for name in sorted(names):
            path = Path(folder) / name
            plain = path.suffix.lower() in SUFFIXES and path.is_file() and not path.is_symlink()
            if plain and path.stat().st_size <= LARGEST_BYTES:
                yield path
