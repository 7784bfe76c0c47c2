"""Arrays that runs on this machine share: one file per entry, named by a hash of all that determines it.

Files are written atomically and checked when they are read: a damaged one counts as absent, is made again and
replaced. If the folder of caches cannot be written, nothing is kept, which costs only time.

A file is a line of JSON, which lists name, type and shape of each array; the values of the arrays, one after the other;
and the SHA-256 of all that. Everything begins at a multiple of `ALIGNMENT` bytes. A run reads hundreds of entries of
tens of arrays each, which takes a fraction of the time that files of NumPy take.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from norsim.files import replace_file
from norsim.paths import cache_folder

Arrays = Mapping[str, NDArray[Any]]
SUFFIX, ALIGNMENT, DIGEST_BYTES = ".arrays", 64, 32
# The name of an entry, or of one that is being written; those of earlier versions are files of NumPy.
ENTRY = re.compile(r"\.?[0-9a-f]{64}\.(arrays|npz)(\.\d+)?")
# After the bound was passed, this share of it is kept, so that not every new entry removes another.
KEPT_SHARE = 0.9
# All entries are counted about this often before new ones of the size of the bound are written.
COUNTS = 64


def key_of(*parts: object) -> str:
    """Return the key of the entry that `parts`, each by its `repr`, determine."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


@dataclass(frozen=True)
class ArrayCache:
    """Entries of one kind, in the folder `name` of the folder of caches.

    `most_bytes`   bound of the size of all entries: beyond it, those are removed that were not used for the longest
                   time; an entry that would leave no room for others is not kept; None for no bound
    """

    name: str
    most_bytes: int | None = None

    def folder(self) -> Path | None:
        """Return the folder of the entries; None if there is no folder for caches."""
        caches = cache_folder()
        return None if caches is None else caches / self.name

    def path(self, key: str) -> Path | None:
        """Return the file of an entry, whether it exists or not; None if nothing can be kept."""
        folder = self.folder()
        return None if folder is None else folder / f"{key}{SUFFIX}"

    def has(self, key: str) -> bool:
        """Return whether there is an entry, which may be damaged."""
        path = self.path(key)
        # pathlib raises an error for a folder of another user.
        return path is not None and os.path.isfile(path)

    def get(self, key: str) -> dict[str, NDArray[Any]] | None:
        """Return the arrays of an entry, by name, each of any shape; None if it is missing or damaged."""
        path = self.path(key)
        if path is None:
            return None
        try:
            arrays = _read(path)
        except Exception:  # a damaged file can have any content
            return None
        if arrays is not None:
            with suppress(OSError):
                os.utime(path)
        return arrays

    def put(self, key: str, arrays: Arrays) -> None:
        """Keep `arrays`, each of any shape, none of them of objects. Errors of the disk are ignored, because a missing
        entry costs only time."""
        path = self.path(key)
        if path is None:
            return
        if self.most_bytes is not None and sum(one.nbytes for one in arrays.values()) > KEPT_SHARE * self.most_bytes:
            return
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, lambda file: file.writelines(_content(arrays)))
            self._bound(path, path.stat().st_size)

    def files(self) -> list[Path]:
        """Return the files of all entries, and half-written ones of killed processes; no other files there."""
        folder = self.folder()
        return [] if folder is None or os.path.islink(folder) else _files(folder)

    def _bound(self, new: Path, size: int) -> None:
        """Remove the entries that were not used for the longest time, but not the `new` one of that `size`, if all
        together are larger than the bound.

        Counting takes longer than writing a small entry, so it is done for a share of the keys that grows with `size`.
        """
        if self.most_bytes is None or int(new.name[:8], 16) / 2**32 > COUNTS * size / self.most_bytes:
            return
        found: list[tuple[float, int, Path]] = []
        # Entries are written through a link to a folder, so they are bounded there too.
        for path in _files(new.parent):
            # Other processes remove entries too.
            with suppress(OSError):
                stat = path.stat()
                found.append((stat.st_mtime, stat.st_size, path))
        total = sum(size for _, size, _ in found)
        if total <= self.most_bytes:
            return
        for _, size, path in sorted(one for one in found if one[2] != new):
            with suppress(OSError):
                path.unlink()
            total -= size
            if total <= KEPT_SHARE * self.most_bytes:
                break


def _files(folder: Path) -> list[Path]:
    """Return the files in a folder that have names of entries; none if it cannot be read."""
    try:
        return sorted(path for path in folder.iterdir() if ENTRY.fullmatch(path.name) and _is_own(path))
    except OSError:
        return []


def _is_own(path: Path) -> bool:
    return os.path.isfile(path) and not os.path.islink(path)


def _content(arrays: Arrays) -> Iterator[bytes]:
    """Yield the content of a file, in parts."""
    listed = [[name, values.dtype.str, values.shape] for name, values in arrays.items()]
    line = json.dumps(listed).encode()
    digest = hashlib.sha256()
    for part in (line + b" " * (-(len(line) + 1) % ALIGNMENT) + b"\n", *map(_padded, arrays.values())):
        digest.update(part)
        yield part
    yield digest.digest()


def _padded(values: NDArray[Any]) -> bytes:
    """Return the values of an array as bytes, up to a multiple of ALIGNMENT."""
    content = np.ascontiguousarray(values).reshape(-1).view(np.uint8).tobytes()
    return content + bytes(-len(content) % ALIGNMENT)


def _read(path: Path) -> dict[str, NDArray[Any]] | None:
    """Return the arrays in a file; None if its checksum differs from the one in it."""
    with open(path, "rb") as file:
        # In memory that may be written to, as torch expects.
        content = bytearray(os.fstat(file.fileno()).st_size)
        file.readinto(content)
    values, kept = memoryview(content)[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
    if hashlib.sha256(values).digest() != kept:
        return None
    found, place = {}, content.index(b"\n") + 1
    for name, kind, shape in json.loads(values[:place].tobytes()):
        count = math.prod(shape)
        found[name] = np.frombuffer(content, kind, count, place).reshape(shape) if count else np.empty(shape, kind)
        place += -(-found[name].nbytes // ALIGNMENT) * ALIGNMENT
    return found


# Characterisations of cells (norsim.solver.characterisation_cache).
CELLS = ArrayCache("cells")
# Reduced models of tiles (norsim.solver.macro.stored): about 4,000 of tiles of 256 x 128.
MODELS = ArrayCache("models", most_bytes=2 * 2**30)
# Decoded images (norsim.data.decoding): about six times those of CIFAR-10.
IMAGES = ArrayCache("images", most_bytes=2**30)
# Fits of converters to training images (norsim.tiling.calibrate): those of about 2,000 networks of 300 tiles.
FITS = ArrayCache("fits", most_bytes=2**30)
# What post-training quantizations change (norsim.training.post_training).
QUANTIZATIONS = ArrayCache("quantizations", most_bytes=2**30)
