"""Reader of binary raw files of ngspice and VACASK, with checks of everything in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from norsim.array.tile import Floats
from norsim.errors import SolveError

LONGEST_HEADER = 1 << 26
# Vectors that ngspice writes in addition to the requested ones, such as the sweep's.
OTHER_VECTORS = 16


def read_raw(path: Path, names: list[str], points: int, simulator: str = "ngspice") -> Floats:
    """Read the named vectors of a binary, real raw file of `simulator`: `[points, names]`, in the order of `names`.

    Raises SolveError if the file is missing, truncated, longer than its header states, has another number of points,
    lacks one of the vectors, or has a value that is not finite.
    """
    most = LONGEST_HEADER + 8 * points * (len(names) + OTHER_VECTORS)
    try:
        if path.stat().st_size > most:
            raise SolveError(f"{path} has {path.stat().st_size} bytes; expected at most {most}")
        content = path.read_bytes()
        if not content:
            raise SolveError(f"{simulator} wrote an empty {path.name} in {path.parent}; the disk may be full")
    except OSError as problem:
        raise SolveError(f"{simulator} wrote no readable {path.name} in {path.parent}: {problem.strerror}") from None
    marker = content.find(b"Binary:\n", 0, LONGEST_HEADER)
    if marker < 0:
        raise SolveError(f"{path} is not a binary raw file of {simulator}: its header has no line 'Binary:'")
    fields, vectors = _header(path, content[:marker].decode("latin-1").splitlines())
    if fields.get("flags") != "real":
        raise SolveError(f"{path} has {fields.get('flags', 'unnamed')} data; expected real data")
    if fields.get("no. points") != str(points) or fields.get("no. variables") != str(len(vectors)):
        raise SolveError(
            f"the header of {path} states {fields.get('no. points')} points of {fields.get('no. variables')} vectors; "
            f"expected {points} points of {len(vectors)} vectors"
        )
    data = content[marker + len(b"Binary:\n") :]
    if len(data) != 8 * points * len(vectors):
        raise SolveError(f"{path} has {len(data)} bytes of data; expected {8 * points * len(vectors)}")
    return _columns(path, np.frombuffer(data, dtype="<f8").reshape(points, len(vectors)), vectors, names)


def _header(path: Path, lines: list[str]) -> tuple[dict[str, str], list[str]]:
    """Return the `key: value` lines, and the names of the vectors in file order."""
    fields: dict[str, str] = {}
    vectors: list[str] = []
    in_vectors = False
    for line in lines:
        if line.startswith("Variables:"):
            in_vectors = True
        elif in_vectors:
            parts = line.split()
            if len(parts) < 3:
                raise SolveError(f"{path}: the line {line!r} does not describe a vector")
            vectors.append(parts[1].lower())
        else:
            key, _, value = line.partition(":")
            fields[key.strip().lower()] = value.strip()
    return fields, vectors


def _columns(path: Path, table: Floats, vectors: list[str], names: list[str]) -> Floats:
    place = {vector: k for k, vector in enumerate(vectors)}
    missing = [name for name in names if name not in place]
    if missing:
        raise SolveError(f"{path} lacks {len(missing)} of the requested vectors, the first is {missing[0]}")
    currents: Floats = table[:, [place[name] for name in names]].astype(np.float64)
    bad = np.argwhere(~np.isfinite(currents))
    if len(bad):
        point, column = bad[0]
        raise SolveError(f"{path}: {names[column]} is {currents[point, column]} at point {point}, not a finite current")
    return currents
