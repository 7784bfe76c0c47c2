"""Verilog-A files of a cell: which text they have, and the names of the compiled files that decks load."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from norsim.array.cell import Cell
from norsim.errors import ConfigurationError

INCLUDE = re.compile(r'^[ \t]*`include[ \t]+"([^"\n]+)"', re.MULTILINE)
MODULE = re.compile(r"^[ \t]*(?:\(\*.*?\*\)\s*)?module[ \t]+([A-Za-z_]\w*)[^;(]*(?:\(([^;]*)\))?[ \t]*;", re.MULTILINE)
REMARK = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a Verilog-A file with the files that it includes; the compiler has those of the standard.

    Raises ConfigurationError for a file that cannot be read.
    """
    digest = hashlib.sha256()
    for content in _contents(path, set()):
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()


def _contents(path: Path, known: set[Path]) -> Iterator[bytes]:
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise ConfigurationError(f"the Verilog-A file {path} cannot be read: {problem.strerror}") from None
    known.add(path)
    yield content
    for name in INCLUDE.findall(content.decode("utf-8", "replace")):
        included = path.parent / name
        if included.is_file() and included not in known:
            yield from _contents(included, known)


def modules_of(path: Path) -> dict[str, int]:
    """Return the modules of a Verilog-A file by name, with their numbers of terminals."""
    text = REMARK.sub(" ", path.read_text("utf-8", "replace"))
    return {name: len([one for one in ports.split(",") if one.strip()]) for name, ports in MODULE.findall(text)}


def compiled_files(cell: Cell) -> list[str]:
    """Return the compiled files that a deck of `cell` loads: those that it has, and those of its Verilog-A files, which
    a person compiles with `openvaf-r FILE.va`, and norsim's own runs replace by copies from its cache."""
    return [path for path, _ in cell.osdi] + [str(Path(path).with_suffix(".osdi")) for path, _ in cell.verilog_a]
