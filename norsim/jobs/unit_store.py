"""Finished units of work, each in a parquet file under the hash of all that decides it, so that none is done twice.

Parquet, because one file is one unit that appears whole or not at all, any tool for tables opens it (pandas, polars,
DuckDB, R), units of measurement go with the columns, and norsim reads data sets with it anyway. Beside each file lies
its SHA-256, in the form of `sha256sum`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from norsim.array.tile import Currents, Floats
from norsim.errors import ConfigurationError
from norsim.files import replace_file

# Part of every key: a change of what a unit holds makes all older ones unknown.
FORMAT = 1


@lru_cache
def code_digest() -> str:
    """A hash of norsim's own code: what another version of it has done is not taken for this one's."""
    package = Path(__file__).resolve().parents[1]
    sources = sorted(package.rglob("*.py"))
    texts = [part for path in sources for part in (str(path.relative_to(package)).encode(), path.read_bytes())]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()


def unit_key(*parts: object) -> str:
    """The name of the unit that `parts`, their `repr` or text, and norsim's code decide."""
    texts = [part if isinstance(part, str) else repr(part) for part in (FORMAT, code_digest(), *parts)]
    return hashlib.sha256("\0".join(f"{len(text)} {text}" for text in texts).encode()).hexdigest()


@dataclass(frozen=True)
class UnitStore:
    """Folders of units. All are looked in; what is new is put into each, of which the first must succeed, and what is
    found elsewhere is copied to the first.

    A unit whose file does not have the checksum beside it counts as absent, and is removed.
    """

    folders: tuple[Path, ...]

    def get(self, key: str) -> pa.Table | None:
        """The unit named `key`, or None."""
        for folder in self.folders:
            path = _path(folder, key)
            content = _sound(path)
            if content is not None:
                if folder != self.folders[0]:
                    with suppress(OSError):
                        _write(_path(self.folders[0], key), content)
                return pq.read_table(pa.BufferReader(content))
            for broken in (path, _checksum(path)):
                with suppress(OSError):
                    broken.unlink(missing_ok=True)
        return None

    def put(self, key: str, table: pa.Table) -> None:
        """Keep a unit. Raises ConfigurationError where the first folder cannot take it."""
        content = parquet(table)
        try:
            _write(_path(self.folders[0], key), content)
        except OSError as problem:
            raise ConfigurationError(
                f"{self.folders[0]} cannot take more work: {problem.strerror}. Make room, then go on with --resume"
            ) from None
        for folder in self.folders[1:]:
            # What cannot be shared costs time another day, and nothing else.
            with suppress(OSError):
                _write(_path(folder, key), content)

    def clear(self) -> None:
        """Forget the units of the first folder."""
        shutil.rmtree(self.folders[0], ignore_errors=True)


def parquet(table: pa.Table) -> bytes:
    """A table as the content of a unit's file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def unit_files(folder: Path) -> list[Path]:
    """All files of a folder of units: units, checksums, and what a killed run has left half-written."""
    return sorted(path for path in folder.glob("*/*") if path.is_file())


def broken_units(folder: Path) -> list[Path]:
    """Units in a folder that do not have the checksum beside them."""
    return [path for path in unit_files(folder) if path.suffix == ".parquet" and _sound(path) is None]


def shared_units() -> Path:
    """Where runs share units: `$XDG_CACHE_HOME/norsim/units`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "norsim" / "units"


def _path(folder: Path, key: str) -> Path:
    return folder / key[:2] / f"{key}.parquet"


def _checksum(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _sound(path: Path) -> bytes | None:
    """The content of a file that has its checksum, else None."""
    try:
        content, said = path.read_bytes(), _checksum(path).read_text()
    except (OSError, UnicodeDecodeError):
        return None
    return content if said == checksum_line(path.name, content) else None


def checksum_line(name: str, content: bytes) -> str:
    """What `sha256sum` writes for a file of that name and content."""
    return f"{hashlib.sha256(content).hexdigest()}  {name}\n"


def _write(path: Path, content: bytes) -> None:
    """The file first and its checksum last: a unit counts from the latter on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, lambda file: file.write(content))
    replace_file(_checksum(path), lambda file: file.write(checksum_line(path.name, content).encode()))


def currents_table(currents: Currents) -> pa.Table:
    """Currents as a table of one row a read: `bitline_amps` and `source_amps`, lists, `residual` and `converged`."""
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
    """The currents that `currents_table` made a table of, to the last bit."""
    residual, converged = (table[name].to_numpy() for name in ("residual", "converged"))
    bitline, source = (_matrix(table[name]) for name in ("bitline_amps", "source_amps"))
    return Currents(bitline, source, converged, residual, table.schema.metadata[b"backend"].decode())


def _lists(values: Floats) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def _matrix(column: pa.ChunkedArray) -> Floats:
    lists = column.combine_chunks()
    flat: Floats = np.array(lists.flatten().to_numpy(), dtype=np.float64)
    return flat.reshape(len(lists), lists.type.list_size)
