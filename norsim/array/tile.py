"""A programmed tile, the volts applied to it, and the currents it returns."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from norsim.array.cell import Cell
from norsim.array.wires import Wires
from norsim.errors import ConfigurationError

Floats = NDArray[np.float64]


def frozen(values: object, shape_of: str, dimensions: int) -> Floats:
    """Return a read-only float64 copy of `values`, an array of any shape with `dimensions` axes; one that nobody can
    write to is not copied.

    `shape_of` names the values and their shape in messages, such as `thresholds [wordlines, bitlines]`. Raises
    ConfigurationError for another number of axes, an empty array, or a value that is not finite.
    """
    array = values if _is_frozen(values) else np.array(values, dtype=np.float64)
    if array.ndim != dimensions or 0 in array.shape:
        raise ConfigurationError(f"expected {shape_of}, not an array of shape {array.shape}")
    if not np.isfinite(array).all():
        raise ConfigurationError(f"{shape_of} has a value that is not finite")
    array.setflags(write=False)
    return array


def _is_frozen(values: object) -> TypeGuard[Floats]:
    """Return whether these are float64 in memory that is read-only for all who have it."""
    if not isinstance(values, np.ndarray) or values.dtype != np.float64:
        return False
    owner = values if values.base is None else values.base
    return isinstance(owner, np.ndarray) and not owner.flags.writeable and not values.flags.writeable


def _words(volts: Floats) -> NDArray[np.uint64] | None:
    """Return `[vectors, words]` in the order of rows of `volts` `[vectors, lines]`, a bit for each of two levels; None
    if there are more levels."""
    low, high = volts.min(), volts.max()
    up = volts == high
    if not (up | (volts == low)).all():
        return None
    packed = np.packbits(up, axis=1)
    whole = np.zeros((len(packed), -(-packed.shape[1] // 8) * 8), np.uint8)
    whole[:, : packed.shape[1]] = packed
    return whole.view(">u8").astype(np.uint64)


def _set(target: object, **fields: object) -> None:
    """Set the fields of a frozen dataclass in its `__init__`, which takes lists where the fields are arrays."""
    for name, value in fields.items():
        object.__setattr__(target, name, value)


@dataclass(frozen=True, eq=False)
class Tile:
    """An array of cells and their programmed state.

    `wires`           at most `wordlines` rows share a source line: a larger number, which means the same, is reduced
    `thresholds`      `[wordlines, bitlines]`, volts, seen from the control gate. All backends read this same array;
                      cell non-idealities change it and `gains`, and nothing else.
    `wordline_notes`, `bitline_notes`   what each line stands for, one text per line, or none at all; decks have them
                      as comments
    `notes`           lines of text on what the cells and currents stand for, written at the top of decks
    `name`            name of the tile in messages and deck titles
    `gains`           `[wordlines, bitlines]`: the current of a cell in units of that of the nominal cell with its
                      threshold and volts, above 0; None: 1
    `offsets`         `[bitlines]`, volts: by how much each bitline's amplifier holds it above its volts in a
                      stimulus; None: 0 V
    `leaks`           `[bitlines]`, amperes: what other cells draw from each bitline, before its first cell and behind
                      its end resistance (norsim.array.sectors.neighbours); None: nothing

    Raises ConfigurationError for a threshold outside the cell's limits, for gains of another shape or not above 0, and
    for offsets or leaks of another shape.
    """

    thresholds: Floats
    cell: Cell
    wires: Wires
    wordline_notes: tuple[str, ...]
    bitline_notes: tuple[str, ...]
    name: str
    notes: tuple[str, ...]
    gains: Floats | None
    offsets: Floats | None
    leaks: Floats | None

    def __init__(
        self, thresholds: ArrayLike, cell: Cell, wires: Wires, wordline_notes: tuple[str, ...] = (),
        bitline_notes: tuple[str, ...] = (), name: str = "NOR-flash tile", notes: tuple[str, ...] = (),
        gains: ArrayLike | None = None, offsets: ArrayLike | None = None, leaks: ArrayLike | None = None,
    ) -> None:  # fmt: skip
        _set(
            self, thresholds=frozen(thresholds, "thresholds [wordlines, bitlines]", 2), cell=cell, wires=wires,
            wordline_notes=wordline_notes, bitline_notes=bitline_notes, name=name, notes=notes,
            gains=None if gains is None else frozen(gains, "gains [wordlines, bitlines]", 2),
            offsets=None if offsets is None else frozen(offsets, "offsets [bitlines]", 1),
            leaks=None if leaks is None else frozen(leaks, "leaks [bitlines]", 1),
        )  # fmt: skip
        if wires.rows_per_source_line > self.wordlines:
            _set(self, wires=replace(wires, rows_per_source_line=self.wordlines))
        low, high = self.cell.limits
        outside = np.argwhere((self.thresholds < low - 1e-9) | (self.thresholds > high + 1e-9))
        if len(outside):
            i, j = outside[0]
            raise ConfigurationError(
                f"the threshold of cell ({i}, {j}) is {self.thresholds[i, j]:g} V, outside the cell's limits of "
                f"{low:g} V to {high:g} V, half a window beyond its window ({len(outside)} such cells)"
            )
        if self.gains is not None and (self.gains.shape != self.thresholds.shape or self.gains.min() <= 0):
            raise ConfigurationError(
                f"gains of shape {self.gains.shape}, from {self.gains.min():g}: expected one above 0 for each of the "
                f"{self.wordlines} x {self.bitlines} cells"
            )
        for name, values in (("offsets", self.offsets), ("leaks", self.leaks)):
            if values is not None and len(values) != self.bitlines:
                raise ConfigurationError(f"{len(values)} {name} for {self.bitlines} bitlines: expected one for each")
        for notes, lines in ((self.wordline_notes, self.wordlines), (self.bitline_notes, self.bitlines)):
            if len(notes) not in (0, lines):
                raise ConfigurationError(f"{len(notes)} notes for {lines} lines: give one per line, or none")

    @cached_property
    def digest(self) -> str:
        """A hash of thresholds, gains, offsets and leaks. Each read looks up the tile's model by it, and hashing takes
        longer than reading a few hundred vectors."""
        state = hashlib.sha256(self.thresholds.tobytes())
        if self.gains is not None:
            state.update(self.gains.tobytes())
        if self.offsets is not None:
            state.update(b"offsets" + self.offsets.tobytes())
        if self.leaks is not None:
            state.update(b"leaks" + self.leaks.tobytes())
        return state.hexdigest()

    def applied(self, bitline_volts: Floats) -> Floats:
        """Return the volts `[..., bitlines]` at which amplifiers hold bitlines that should have `bitline_volts`, less
        what leaks drop between amplifier and array: they act on the cells like a lower offset."""
        volts = bitline_volts if self.offsets is None else bitline_volts + self.offsets
        return volts if self.leaks is None else volts - self.leaks * self.wires.bitline_end_ohms

    def with_leaks(self, amps: Floats) -> Floats:
        """Return the currents `[..., bitlines]` of bitlines whose cells draw `amps`."""
        return amps if self.leaks is None else amps + self.leaks

    @property
    def wordlines(self) -> int:
        """Rows of the array."""
        return int(self.thresholds.shape[0])

    @property
    def bitlines(self) -> int:
        """Columns of the array."""
        return int(self.thresholds.shape[1])

    @property
    def source_lines(self) -> int:
        """Source lines of the array."""
        return self.wires.source_lines(self.wordlines)


@dataclass(frozen=True, eq=False)
class Stimulus:
    """The volts on a tile's lines, one row per read.

    `wordline_volts`  `[vectors, wordlines]`, volts
    `bitline_volts`   `[vectors, bitlines]`, volts, before the driver's or sense amplifier's resistance
    `source_volts`    volts at the straps, or at the source lines' sense amplifiers
    `driven`, `full_volts`, `off_volts`  which lines carry the input, and the volts of the largest input and of an
                      input of 0: only a reduced model and the energy of the lines need them
    `levels`          volts of the driven lines for inputs 0, 1, 2 and so on; empty if they are in proportion to the
                      input
    `notes`           lines of text on what the reads stand for, written at the top of decks; `take` drops them
    """

    wordline_volts: Floats
    bitline_volts: Floats
    source_volts: float
    driven: Literal["wordlines", "bitlines"] | None
    full_volts: float | None
    notes: tuple[str, ...]
    off_volts: float
    levels: tuple[float, ...]

    def __init__(
        self, wordline_volts: ArrayLike, bitline_volts: ArrayLike, source_volts: float = 0.0,
        driven: Literal["wordlines", "bitlines"] | None = None, full_volts: float | None = None,
        notes: tuple[str, ...] = (), off_volts: float = 0.0, levels: tuple[float, ...] = (),
    ) -> None:  # fmt: skip
        _set(
            self, wordline_volts=frozen(wordline_volts, "wordline_volts [vectors, wordlines]", 2),
            bitline_volts=frozen(bitline_volts, "bitline_volts [vectors, bitlines]", 2),
            source_volts=source_volts, driven=driven, full_volts=full_volts, notes=notes, off_volts=off_volts,
            levels=levels,
        )  # fmt: skip
        if len(self.wordline_volts) != len(self.bitline_volts):
            raise ConfigurationError(
                f"{len(self.wordline_volts)} vectors of wordline volts do not match "
                f"{len(self.bitline_volts)} of bitline volts"
            )

    @property
    def vectors(self) -> int:
        """Number of reads."""
        return len(self.wordline_volts)

    def take(self, indices: NDArray[np.int64] | slice) -> Stimulus:
        """Return the reads at `indices`, in that order."""
        wordlines, bitlines = self.wordline_volts[indices], self.bitline_volts[indices]
        for own in (wordlines, bitlines):
            own.setflags(write=False)
        return replace(self, wordline_volts=wordlines, bitline_volts=bitlines, notes=())

    def distinct(self) -> tuple[Stimulus, NDArray[np.int64]]:
        """Return the distinct reads, and for each read `[vectors]` its index among them.

        A DC read has no memory, so equal volts need only one solve. Sorted reads also start closer to each other.
        """
        alike = (self.bitline_volts == self.bitline_volts[0]).all()
        words = _words(self.wordline_volts) if alike else None
        if words is None:
            both = np.hstack([self.wordline_volts, self.bitline_volts])
            _, first, inverse = np.unique(both, axis=0, return_index=True, return_inverse=True)
            return self.take(first), inverse.reshape(-1).astype(np.int64)
        order = np.lexsort(words.T[::-1])
        starts = np.append(True, (words[order[1:]] != words[order[:-1]]).any(axis=1))
        place = np.empty(len(order), np.int64)
        place[order] = np.cumsum(starts) - 1
        return self.take(order[starts]), place


@dataclass(frozen=True, eq=False)
class Currents:
    """The result of a read.

    `bitline`    `[vectors, bitlines]`, amperes, positive from the bitline's driver into the array
    `source`     `[vectors, source_lines]`, amperes, positive out of the array into each line's sense
                 amplifier; if lines are strapped, `[vectors, 1]`, the common return to ground
    `converged`  `[vectors]`, whether the solver reached its tolerance
    `residual`   `[vectors]`, |current in - current out| over the current in: Kirchhoff's current law for the tile
    `backend`    name of the solver
    """

    bitline: Floats
    source: Floats
    converged: NDArray[np.bool_]
    residual: Floats
    backend: str

    def take(self, indices: NDArray[np.int64] | slice) -> Currents:
        """Return the reads at `indices`, in that order."""
        return Currents(
            self.bitline[indices],
            self.source[indices],
            self.converged[indices],
            self.residual[indices],
            self.backend,
        )


def join(parts: list[Currents]) -> Currents:
    """Return the reads of all `parts`, in order, as one `Currents`; the parts must come from one backend."""
    return Currents(
        np.concatenate([part.bitline for part in parts]),
        np.concatenate([part.source for part in parts]),
        np.concatenate([part.converged for part in parts]),
        np.concatenate([part.residual for part in parts]),
        parts[0].backend,
    )
