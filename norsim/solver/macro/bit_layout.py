"""How a vector's bits choose table rows: eight inputs at a time, from tables of all their 256 states.

Groups of inputs that share a source line are kept together in `slot` = 1, 2, 4 or 8 places, and a byte holds the groups
of one node of the field and one block of the lines only. So a byte's bits look up the rows of its groups' states, how
many these are, and the sum of their weights.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from norsim.array.tile import Floats

# Places of a byte, and its states.
EIGHT, STATES = 8, 256
# Bytes are made in vectors of this size.
BYTES = 64


class BitLayout(NamedTuple):
    """The layout of a tile's inputs in bytes of bits.

    `spots`    `[inputs]`: the place of each input's code; bit k of byte n is that of the code at place 8 n + k
    `length`   number of places, a multiple of 64
    `bases`    `[bytes]`: the first table row of a byte
    `entries`  `[256, 8]`: the rows of a byte's state, counted from its first; `counts` `[256]`: their number
    `weights`  `[bytes, 256]`: the sum of the weights of a byte's state
    `moments`  `[bytes, 256]`: the part of that which belongs to the next node; empty if there is none
    `ends`     `[segments + 1]`: the first byte of each run of bytes with one node and one block, and that after all
    `nodes`, `blocks`   `[segments]`: their node and their block
    """

    spots: NDArray[np.uint64]
    length: int
    bases: NDArray[np.uint32]
    entries: NDArray[np.uint32]
    counts: NDArray[np.uint64]
    weights: NDArray[np.float32]
    moments: NDArray[np.float32]
    ends: NDArray[np.uint64]
    nodes: NDArray[np.int64]
    blocks: NDArray[np.int64]


def no_bits() -> BitLayout:
    """Return the layout of a tile whose inputs are volts."""
    number, place = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.uint64)
    row, weight = np.empty((0, 0), dtype=np.uint32), np.empty((0, 0), dtype=np.float32)
    return BitLayout(place, 0, row.ravel(), row, place, weight, weight, place, number, number)


def bit_layout(
    inputs: int,
    count: int,
    per_block: int,
    node_of: NDArray[np.int64],
    beyond: Floats,
    weights: NDArray[np.float32],
) -> BitLayout:
    """Lay out `inputs` in groups of `count`, `per_block` of them in a block.

    `node_of` `[groups]` is the node of each group, `beyond` `[groups]` the share of its weights that belongs to the
    next node; `weights` `[groups x (2^count - 1)]` are those of its states.
    """
    groups, states = len(node_of), 2**count - 1
    slot = 1 << (count - 1).bit_length()
    each = EIGHT // slot
    block_of = np.arange(groups) // per_block
    starts = np.flatnonzero(np.r_[True, (np.diff(block_of) != 0) | (np.diff(node_of) != 0)])
    sizes = np.diff(np.r_[starts, groups])
    ends = np.r_[0, np.cumsum(-(-sizes // each))]
    segment = np.repeat(np.arange(len(starts)), sizes)
    place = ends[segment] * EIGHT + (np.arange(groups) - starts[segment]) * slot  # of each group
    number = np.arange(inputs)
    entries, counts, states_of = _states(count, slot)
    first = np.concatenate([start + np.arange(0, size, each) for start, size in zip(starts, sizes, strict=True)])
    own = np.arange(each) < (np.repeat(starts + sizes, np.diff(ends)) - first)[:, None]  # [bytes, groups of a byte]
    by_group = weights.reshape(groups, states)

    def of_bytes(values: NDArray[Any]) -> NDArray[np.float32]:
        """Sum values `[groups, states]` over the groups of bytes, `[bytes, 256]`."""
        by_state = np.pad(values, ((0, each), (1, 0)))  # of each group, state 0 first
        of_groups = by_state[first[:, None] + np.arange(each)] * own[:, :, None]
        found = sum(of_groups[:, group, states_of[:, group]] for group in range(each))
        return np.ascontiguousarray(found, dtype=np.float32)

    moments = of_bytes(by_group * beyond[:, None]) if beyond.any() else np.empty((0, 0), dtype=np.float32)
    return BitLayout(
        (place[number // count] + number % count).astype(np.uint64), int(-(-ends[-1] * EIGHT // BYTES) * BYTES),
        (first * states).astype(np.uint32), entries, counts, of_bytes(by_group), moments,
        ends.astype(np.uint64), node_of[starts].astype(np.int64), block_of[starts].astype(np.int64),
    )  # fmt: skip


def _states(count: int, slot: int) -> tuple[NDArray[np.uint32], NDArray[np.uint64], NDArray[np.int64]]:
    """Return `entries` and `counts`, and the state of each group of a byte, `[256, groups of a byte]`."""
    shifts = np.arange(0, EIGHT, slot)
    states = np.arange(STATES)[:, None] >> shifts & (1 << count) - 1
    rows = np.arange(len(shifts)) * (2**count - 1) + states - 1
    entries = np.zeros((STATES, EIGHT), dtype=np.uint32)
    for byte in range(STATES):
        some = rows[byte][states[byte] > 0]
        entries[byte, : len(some)] = some
    return entries, (states > 0).sum(axis=1).astype(np.uint64), states.astype(np.int64)
