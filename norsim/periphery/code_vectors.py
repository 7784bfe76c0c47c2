"""The activation vectors of a layer, by where their codes are in memory: overlapping patches are not copied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from norsim.periphery.encoding import Codes


class LayerCodes(Protocol):
    """The activation codes `[vectors, inputs]` of a layer, in an array, as CodeVectors, or on a device."""

    def __getitem__(self, which: NDArray[np.int64], /) -> Codes:
        """Return the codes `[n, inputs]` of some vectors, in memory."""


@dataclass(frozen=True, eq=False)
class CodeVectors:
    """Activation vectors of a layer, of which input i of vector v is codes[begins[v] + offsets[i]].

    `codes`     `[n]`, uint8
    `begins`    `[vectors]`, uint64
    `offsets`   `[inputs]`, uint64

    An index or a slice of vectors gives their codes, as for an array `[vectors, inputs]`.
    """

    codes: Codes
    begins: NDArray[np.uint64]
    offsets: NDArray[np.uint64]

    @classmethod
    def of_rows(cls, codes: Codes) -> CodeVectors:
        """Return the rows of `codes` `[vectors, inputs]`."""
        vectors, inputs = codes.shape
        begins = np.arange(vectors, dtype=np.uint64) * np.uint64(inputs)
        return cls(np.ascontiguousarray(codes).reshape(-1), begins, np.arange(inputs, dtype=np.uint64))

    @classmethod
    def joined(cls, parts: Sequence[Codes | CodeVectors]) -> CodeVectors:
        """Return all vectors of `parts`, each `[vectors, inputs]`; overlapping patches are not copied."""
        patches = [part for part in parts if isinstance(part, CodeVectors)]
        if len(patches) == 1 == len(parts):
            return patches[0]
        alike = all(np.array_equal(one.offsets, patches[0].offsets) for one in patches)
        if patches and len(patches) == len(parts) and alike:
            before = np.cumsum([0, *(one.codes.size for one in patches[:-1])]).astype(np.uint64)
            begins = [one.begins + start for one, start in zip(patches, before, strict=True)]
            codes = np.concatenate([one.codes.reshape(-1) for one in patches])
            return cls(codes, np.concatenate(begins), patches[0].offsets)
        return cls.of_rows(parts[0][:] if len(parts) == 1 else np.concatenate([part[:] for part in parts]))

    def __len__(self) -> int:
        return len(self.begins)

    def __getitem__(self, which: slice | NDArray[np.int64]) -> Codes:
        """Return the codes `[vectors, inputs]` of some vectors."""
        # NumPy would convert unsigned places.
        found: Codes = self.codes[(self.begins[which][:, None] + self.offsets).view(np.int64)]
        return found

    def take(self, which: slice | NDArray[np.int64]) -> CodeVectors:
        """Return some vectors, not copied."""
        return CodeVectors(self.codes, self.begins[which], self.offsets)

    def of_inputs(self, inputs: slice, order: NDArray[np.int64] | None) -> CodeVectors:
        """Return all vectors with a part of their inputs, in an `order` `[inputs]` if there is one; not copied."""
        offsets = self.offsets[inputs]
        return CodeVectors(self.codes, self.begins, offsets if order is None else offsets[order])
