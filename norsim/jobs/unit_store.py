"""Finished units of work, one Parquet file each, named by a hash of all their inputs, so that none is computed twice.

Parquet, because one file is one unit, any table tool opens it (pandas, polars, DuckDB, R), columns carry their units
of measurement, and norsim reads data sets with it anyway. Each file has its SHA-256 beside it, in the format of
`sha256sum`.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from norsim.array.tile import Currents, Floats
from norsim.errors import DataError, WriteError
from norsim.files import replace_file
from norsim.jobs.machine import processor
from norsim.paths import cache_folder, sources_digest

# Part of every key: a change of the format invalidates all older units.
FORMAT = 1
# Read when norsim is imported: files that change while it runs are not the code that runs.
CODE = sources_digest()
# Libraries whose version may change the last bit of a result.
DECISIVE = ("numpy", "scipy", "numba", "llvmlite", "torch")
# The name of a unit or of its checksum, or that of one that is being written.
UNIT = re.compile(r"\.?(?P<key>[0-9a-f]{2}[\w-]*)\.(parquet|sha256)(\.\d+)?")


def code_digest() -> str:
    """Return a hash of norsim's code, so that no version uses the units of another."""
    return CODE


def arithmetic() -> tuple[str, ...]:
    """Return what the last bit of a result depends on, besides the number of threads: processor and libraries."""
    return processor(), *map(version, DECISIVE)


def unit_key(*parts: object) -> str:
    """Return the key of the unit determined by `parts` (texts, else their `repr`) and norsim's code."""
    texts = [part if isinstance(part, str) else repr(part) for part in (FORMAT, code_digest(), *parts)]
    return hashlib.sha256("\0".join(f"{len(text)} {text}" for text in texts).encode()).hexdigest()


@dataclass(frozen=True)
class UnitStore:
    """Folders of units. A unit is read from any of them and written to all; only in the first must writing succeed.

    A unit found in another folder is copied to the first. One without a matching checksum counts as absent and is
    removed.
    """

    folders: tuple[Path, ...]

    def get(self, key: str) -> pa.Table | None:
        """Return the unit `key`, or None."""
        for folder in self.folders:
            path = _path(folder, key)
            content, broken = _read(path)
            if content is not None:
                if folder != self.folders[0]:
                    with suppress(OSError):
                        _write(_path(self.folders[0], key), content)
                return _table(path, content)
            if broken and folder == self.folders[0]:
                for file in (path, _checksum(path)):
                    with suppress(OSError):
                        file.unlink(missing_ok=True)
        return None

    def put(self, key: str, table: pa.Table) -> None:
        """Store a unit. Raises WriteError if it cannot be written to the first folder."""
        content = parquet(table)
        try:
            _write(_path(self.folders[0], key), content)
        except OSError as problem:
            raise WriteError(
                f"{self.folders[0]} cannot take more work: {problem.strerror}. Free disk space, then resume the run"
            ) from None
        for folder in self.folders[1:]:
            # A unit that is not shared only costs time later.
            with suppress(OSError):
                _write(_path(folder, key), content)


def _table(path: Path, content: bytes) -> pa.Table:
    """Return the table in a unit's file; DataError if it is none, although its checksum matches."""
    try:
        return pq.read_table(pa.BufferReader(content))
    except (pa.ArrowException, OSError, ValueError) as problem:
        raise DataError(
            f"{path} is not a unit ({type(problem).__name__}); remove it, so that it is made again"
        ) from None


def parquet(table: pa.Table) -> bytes:
    """Return the content of a unit's file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def unit_files(folder: Path | None) -> list[Path]:
    """Return the files of a folder of units, without any others there: units, checksums, and half-written ones of
    killed runs; none for None. Links are not followed."""
    if folder is None:
        return []
    return sorted(path for path in folder.glob("??/*") if _is_unit(path))


def _is_unit(path: Path) -> bool:
    if path.parent.is_symlink() or path.is_symlink() or not path.is_file():
        return False
    found = UNIT.fullmatch(path.name)
    return found is not None and found["key"].startswith(path.parent.name)


def broken_units(folder: Path) -> list[Path]:
    """Return the units in a folder that have no matching checksum."""
    return [path for path in unit_files(folder) if path.suffix == ".parquet" and _read(path)[0] is None]


def shared_units() -> Path | None:
    """Return the folder that runs share, `$XDG_CACHE_HOME/norsim/units`; None if there is no folder for caches."""
    caches = cache_folder()
    return None if caches is None else caches / "units"


def _path(folder: Path, key: str) -> Path:
    return folder / key[:2] / f"{key}.parquet"


def _checksum(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _read(path: Path) -> tuple[bytes | None, bool]:
    """Return the content of a file if its checksum matches, else None; and whether it is broken.

    A file that cannot be read is not broken, because the disk may recover.
    """
    try:
        content, said = path.read_bytes(), _checksum(path).read_bytes()
    except FileNotFoundError:
        return None, True
    except OSError:
        return None, False
    same = said == checksum_line(path.name, content).encode()
    return (content if same else None), not same


def checksum_line(name: str, content: bytes) -> str:
    """Return the line that `sha256sum` prints for a file of that name and content."""
    return f"{hashlib.sha256(content).hexdigest()}  {name}\n"


def _write(path: Path, content: bytes) -> None:
    """Write the file first and its checksum last, which makes it valid."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, lambda file: file.write(content))
    replace_file(_checksum(path), lambda file: file.write(checksum_line(path.name, content).encode()))


def currents_table(currents: Currents) -> pa.Table:
    """Return a table with one row per read: `bitline_amps` and `source_amps` (lists), `residual` and `converged`."""
    columns = {
        "bitline_amps": (_lists(currents.bitline), "A"),
        "source_amps": (_lists(currents.source), "A"),
        "residual": (pa.array(currents.residual), "1"),
        "converged": (pa.array(currents.converged), "1"),
    }
    fields = [pa.field(name, values.type, False, {"unit": unit}) for name, (values, unit) in columns.items()]
    schema = pa.schema(fields, {"backend": currents.backend})
    return pa.Table.from_arrays([values for values, _ in columns.values()], schema=schema)


def currents_of(table: pa.Table) -> Currents:
    """Return the currents in a table of `currents_table`, to the last bit; DataError for another table."""
    try:
        return _currents(table)
    except (KeyError, TypeError, ValueError, AttributeError, pa.ArrowException) as problem:
        raise DataError(
            f"a unit holds no currents ({type(problem).__name__}); remove it, so that it is made again"
        ) from None


def _currents(table: pa.Table) -> Currents:
    residual, converged = (table[name].to_numpy() for name in ("residual", "converged"))
    bitline, source = (_matrix(table[name]) for name in ("bitline_amps", "source_amps"))
    return Currents(bitline, source, converged, residual, table.schema.metadata[b"backend"].decode())


def _lists(values: Floats) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def _matrix(column: pa.ChunkedArray) -> Floats:
    lists = column.combine_chunks()
    flat: Floats = np.array(lists.flatten().to_numpy(), dtype=np.float64)
    return flat.reshape(len(lists), lists.type.list_size)
