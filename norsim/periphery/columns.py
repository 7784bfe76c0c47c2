"""Which bitlines hold an output: those of its slices, and those that are subtracted from them.

A tile can hold several blocks of outputs, each with inputs of its own: groups of a convolution. The reference columns
of a block have cells only on its own wordlines, so each block has its own; blocks share a strapped group as far as they
fit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from norsim.periphery.mapping import Scheme

Places = NDArray[np.int64]


def same_block(inputs: int, outputs: int, blocks: int) -> NDArray[np.bool_]:
    """Return whether an input and an output belong to the same of that many equal blocks, `[inputs, outputs]`."""
    of_input, of_output = (np.arange(count) // (count // blocks) for count in (inputs, outputs))
    found: NDArray[np.bool_] = of_input[:, None] == of_output
    return found


@dataclass(frozen=True)
class Columns:
    """The order of outputs on bitlines.

    `scheme`   what is subtracted from an output's bitlines: the reference columns in the middle of its group, the
               bitline beside each, or nothing
    `group`    bitlines of a group, within which the bitlines of an output and its references stay; those that are left
               over in a group stay unused; None for no groups
    `slices`   slices of a weight
    `blocks`   blocks of equally many outputs, in order
    """

    scheme: Scheme
    group: int | None
    slices: int
    blocks: int = 1

    @property
    def width(self) -> int:
        """Bitlines of an output."""
        return self.slices * (2 if self.scheme == "differential" else 1)

    def outputs_on(self, bitlines: int) -> int:
        """Return the outputs that fit that many bitlines of one group, beside its reference columns."""
        return max(bitlines // self.width - (self.scheme == "reference"), 0)

    def capacity(self, bitlines: int) -> int:
        """Return the outputs that fit that many bitlines."""
        if self.group is None:
            return self.outputs_on(bitlines)
        groups, rest = divmod(bitlines, self.group)
        return groups * self.outputs_on(self.group) + self.outputs_on(rest)

    def blocks_on(self, bitlines: int, outputs: int) -> int:
        """Return the blocks of that many outputs each that fit that many bitlines."""
        if self.scheme != "reference" or self.group is None:
            return self.capacity(bitlines) // outputs
        in_group, groups = self._packing(outputs)
        whole, rest = divmod(bitlines, self.group * groups)
        wide = self.single.places(outputs)[2]
        return whole * in_group + (rest // wide if in_group > 1 else int(wide <= rest))

    @property
    def single(self) -> Columns:
        """The order of the outputs of one block."""
        return replace(self, blocks=1)

    def _packing(self, outputs: int) -> tuple[int, int]:
        """Return how many blocks with references, of that many outputs each, share a strapped group, and how many
        groups they take; one of the two is 1."""
        assert self.group is not None
        each = self.outputs_on(self.group)
        return max(self.group // ((outputs + 1) * self.slices), 1), -(-outputs // each)

    def places(self, outputs: int) -> tuple[Places, Places, int]:
        """Return the bitline of each slice of each output, and that which is subtracted from it, both
        `[outputs x slices]`, and the number of bitlines. Without anything to subtract both are the same."""
        if self.blocks > 1 and self.scheme == "reference" and self.group is not None:
            plus, minus, wide = self.single.places(outputs // self.blocks)
            in_group, groups = self._packing(outputs // self.blocks)
            number, place = np.divmod(np.arange(self.blocks), in_group)
            start = number * self.group * groups + place * wide
            return (start[:, None] + plus).ravel(), (start[:, None] + minus).ravel(), int(start[-1]) + wide
        each = outputs if self.group is None else self.outputs_on(self.group)
        number, place = np.divmod(np.arange(outputs), each)
        start, middle = number * (self.group or 0), np.minimum(each, outputs - number * each) // 2
        if self.scheme == "reference":
            own, other = start + (place + (place >= middle)) * self.width, start + middle * self.width
            plus, minus = (first[:, None] + np.arange(self.slices) for first in (own, other))
        elif self.scheme == "differential":
            plus = (start + place * self.width)[:, None] + 2 * np.arange(self.slices)
            minus = plus + 1
        else:
            plus = minus = (start + place * self.width)[:, None] + np.arange(self.slices)
        return plus.ravel(), minus.ravel(), int(max(plus.max(), minus.max())) + 1
