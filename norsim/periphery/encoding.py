"""The interface of all encodings.

An encoding defines how activation codes become volts (in how many passes), how weight codes become
thresholds, and how currents become sums. Its unit current `lsb_amps` is what one (cell code x
activation code) step adds to an output in one pass; `value = amps / lsb_amps`.

A weight that is wider than a cell is cut into slices (norsim.periphery.mapping). Each slice of each output is a sum of
its own, with its own conversion: arrays have them as `outputs x slices`, slices of an output next to each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from norsim.array.tile import Currents, Floats, Stimulus
from norsim.periphery.mapping import Codes as Codes
from norsim.periphery.mapping import slice_names

Sense = list[list[tuple[str, int, int]]]


class Encoding(Protocol):
    """One way to compute with the array; each has its own module."""

    def __hash__(self) -> int:
        """Return a hash, since results for an encoding are cached by it."""

    @property
    def name(self) -> str:
        """The name in a chip file: `bit-serial`, `linear-pair`."""

    @property
    def lsb_amps(self) -> float:
        """Amperes of one unit of `value`."""

    @property
    def level_amps(self) -> Floats:
        """`[levels]`: the target current of program-verify for each cell code; 0 is fully programmed."""

    @property
    def verify_volts(self) -> tuple[float, float]:
        """Gate and drain volts of the program-verify read."""

    @property
    def wordline_volts(self) -> float:
        """Gate volts of a wordline that is up."""

    @property
    def off_volts(self) -> float:
        """Gate volts of a wordline that is not selected."""

    @property
    def top_drive(self) -> int:
        """Largest drive of a line in one pass, in units of an activation code's step."""

    @property
    def activation_bits(self) -> int:
        """Width of the widest activation codes that the encoding supports."""

    @property
    def activation_key(self) -> str:
        """The chip key that sets `activation_bits`; empty if none does."""

    @property
    def has_unselected_cells(self) -> bool:
        """Whether a read leaves wordlines at `off_volts` under full bitline volts, so that unselected cells leak."""

    def driven(self, wordline_volts: float, dac_sigma: float, random: Callable[[], np.random.Generator]) -> Encoding:
        """Return the encoding with one chip's drivers: these volts on a wordline that is up, and, if the encoding has
        a DAC, level errors with the standard deviation `dac_sigma` in steps, drawn from `random()`."""

    @property
    def input_amps(self) -> Floats | None:
        """`[drives]`: the current of a peripheral cell that sets its wordline to the volts of each drive, from 0 to
        `top_drive`; None for wordlines whose volts are given."""

    @property
    def is_coupled(self) -> bool:
        """Whether peripheral cells set the wordlines in reads, or only did when cells were programmed."""

    def with_gate_volts(self, volts: Floats) -> Encoding:
        """Return the encoding with the volts `[drives]` that peripheral cells set; itself without such cells."""

    def for_weights(self, weight_bits: int) -> Encoding:
        """Return the encoding for weights of that width; each chip has it for weights of one slice.

        Raises ConfigurationError for weights that cannot be sliced that way.
        """

    @property
    def slices(self) -> int:
        """Cells that hold a weight code; for `differential`, in each of its two columns."""

    @property
    def slice_values(self) -> Floats:
        """`[slices]`: the place value of each slice in a weight, least significant first."""

    def slice_codes(self, weights: Codes) -> Codes:
        """Cut weight codes of any shape into the codes of their slices, `[..., slices]`."""

    def capacity(self, wordlines: int, bitlines: int) -> tuple[int, int]:
        """Return (inputs, outputs) that fit a tile of that size."""

    def passes(self, input_bits: int) -> int:
        """Return the number of conversions for one activation vector."""

    def slots(self, input_bits: int) -> int:
        """Return the number of drives in a pass, one after the other, whose currents are integrated on the lines before
        its conversion. The amperes of a pass are their sum."""

    def for_blocks(self, blocks: int) -> Encoding:
        """Return the encoding for a tile of that many blocks: groups of a convolution, each with an equal part of the
        inputs and of the outputs, in order. Cells between blocks are off; weights there are given as their zero."""

    @property
    def blocks(self) -> int:
        """Blocks on a tile."""

    def blocks_on(self, wordlines: int, bitlines: int, inputs: int, outputs: int) -> int:
        """Return the number of blocks of that many inputs and outputs each that fit a tile of that size."""

    @property
    def inputs_on(self) -> Literal["wordlines", "bitlines"]:
        """The lines that carry inputs."""

    def cell_codes(self, weights: Codes, zero: int) -> Codes:
        """Convert weight codes `[inputs, outputs]`, in the order of blocks, and their zero to level codes
        `[wordlines, bitlines]`."""

    def off_cells(self, inputs: int, outputs: int) -> NDArray[np.bool_] | None:
        """Return which cells `[wordlines, bitlines]` are programmed off, whatever the current of code 0, None for none:
        those between blocks."""

    def drives(self, codes: Codes) -> NDArray[np.generic]:
        """Convert activation codes of any shape, each by itself, to the actual drive of the lines in units of a code's
        step, same shape."""

    def shares(self, drives: NDArray[np.generic], count: int) -> NDArray[np.float32]:
        """Convert drives `[vectors, inputs]` from `drives` to shares of a line's full drive, `[vectors x count,
        inputs]`, as `drive` applies them in the passes x slots, `count`, of a vector. The current of a linear cell is
        proportional to its share."""

    def drive(self, codes: Codes, outputs: int, input_bits: int) -> Stimulus:
        """Convert activation codes `[vectors, inputs]` to volts, `vectors x passes x slots` reads, slots innermost."""

    def sense(self, outputs: int) -> Sense:
        """Return for each slice of each output the lines that it is summed from: (`bitline` or `source`, index, +1 or
        -1)."""

    def pass_values(self, codes: Codes, weights: Codes, zero: int, input_bits: int) -> Floats:
        """Return the result `[vectors, passes, outputs x slices]` of ideal cells and wires, in units of `lsb_amps`."""

    def place_values(self, passes: int) -> Floats:
        """Return the weight of each pass in the sum of (q - zero) x of a slice, `[passes]`."""

    def digital_part(self, codes: Codes, zero: int) -> Floats | None:
        """Return the term `[vectors, blocks]` that is added digitally to the sums of every output of a block, or
        None."""

    def order(self, loads: NDArray[np.int64], rows_per_source_line: int) -> NDArray[np.int64]:
        """Return the best order `[inputs]` of inputs on lines, given their loads, the sums of their weight codes."""

    def line_notes(self, inputs: list[str], outputs: list[str], zero: int) -> tuple[list[str], list[str]]:
        """Return what wordlines and bitlines stand for, given the names of inputs and outputs."""


def tile_notes(encoding: Encoding, outputs: Sequence[str], state: str, thresholds: Floats) -> tuple[str, ...]:
    """Return lines for a deck on what the cells and currents of its tile stand for.

    `outputs` are the names of the outputs, `state` is the state parameter of a cell, `thresholds` `[levels]` are volts.
    """
    meters = {"bitline": "vbl", "source": "vsl"}
    made = []
    names = slice_names(list(outputs), encoding.slices)
    for name, parts in zip(names, encoding.sense(len(outputs)), strict=True):
        terms = " ".join(f"{'+' if sign > 0 else '-'} i({meters[line]}{index})" for line, index, sign in parts)
        made.append(f"{name} = {terms.removeprefix('+ ')}")
    levels = [f"code {code}: {state}={float(volts)!r}" for code, volts in enumerate(thresholds)]
    code = "weight" if encoding.slices == 1 else "cell"
    return (
        "Levels, before in-situ programming, spread and other threshold shifts:",
        *(f"  {', '.join(levels[k : k + 3])}" for k in range(0, len(levels), 3)),
        "Outputs are sums of these currents:",
        *(f"  {', '.join(made[k : k + 3])}" for k in range(0, len(made), 3)),
        *_slice_notes(encoding),
        f"One step of an output (one {code} code step times one drive step) is {encoding.lsb_amps:.6g} A.",
    )


def _slice_notes(encoding: Encoding) -> tuple[str, ...]:
    """Return a line on the sum of slices, or none without slices."""
    if encoding.slices == 1:
        return ()
    terms = " + ".join(f"{value:.0f} x slice {number}" for number, value in enumerate(encoding.slice_values))
    return (f"The value of an output is {terms}, each slice converted by itself.",)


def decode(encoding: Encoding, values: Floats, codes: Codes, zero: int) -> Floats:
    """Decode values `[vectors, passes, outputs x slices]` of activation `codes` to sums of (q - zero) x `[vectors,
    outputs]`."""
    of_slices: Floats = np.einsum("vpo,p->vo", values, encoding.place_values(values.shape[1]))
    sums: Floats = of_slices.reshape(len(values), -1, encoding.slices) @ encoding.slice_values
    digital = encoding.digital_part(codes, zero)
    return sums if digital is None else sums + to_outputs(digital, sums.shape[1])


def to_outputs(of_blocks: Floats, outputs: int) -> Floats:
    """Return a term of each block, `[vectors, blocks]`, for each output, `[vectors, outputs]`."""
    return np.repeat(of_blocks, outputs // of_blocks.shape[1], axis=1)


def sense_matrix(sense: Sense, kind: str, lines: int) -> Floats:
    """Return `[lines, outputs]`, the sign of each line of a kind (`bitline` or `source`) in each output."""
    matrix = np.zeros((lines, len(sense)))
    for output, parts in enumerate(sense):
        for line, index, sign in parts:
            if line == kind:
                matrix[index, output] += sign
    return matrix


def sense_parts(sense: Sense, kind: str) -> tuple[NDArray[np.uint64], NDArray[np.float32]]:
    """Return the lines of a kind (`bitline` or `source`) that each output adds up, `[parts, outputs]`, and their signs,
    same shape: `sense_matrix` without its zeros. An output of fewer lines than others has signs of 0."""
    each = [[(index, sign) for line, index, sign in parts if line == kind] for parts in sense]
    most = max(map(len, each))
    padded = np.array([parts + [(0, 0)] * (most - len(parts)) for parts in each]).reshape(len(sense), most, 2)
    lines, signs = padded.transpose(2, 1, 0)
    return np.ascontiguousarray(lines, dtype=np.uint64), np.ascontiguousarray(signs, dtype=np.float32)


@lru_cache(maxsize=64)
def sensed_parts(encoding: Encoding, outputs: int, kind: str) -> tuple[NDArray[np.uint64], NDArray[np.float32]]:
    """Return lines and signs `[parts, outputs]`, as `sense_parts`, of an encoding with that many outputs: the same for
    hundreds of tiles of a network."""
    return sense_parts(encoding.sense(outputs), kind)


def sensed_amps(currents: Currents, sense: Sense) -> Floats:
    """Return `[reads, outputs]` amperes, the lines of each output added with their signs."""
    kinds = {"bitline": currents.bitline, "source": currents.source}
    used = sorted({line for parts in sense for line, _, _ in parts})
    each = [kinds[kind] @ sense_matrix(sense, kind, kinds[kind].shape[1]) for kind in used]
    total: Floats = np.sum(each, axis=0)
    return total


def integrated(values: NDArray[Any], slots: int) -> NDArray[Any]:
    """Return the sums of `[reads x slots, n]` over the slots of each read, `[reads, n]`; the same for one slot."""
    if slots == 1:
        return values
    total: NDArray[Any] = values.reshape(-1, slots, values.shape[1]).sum(axis=1)
    return total


def runs(shares: NDArray[np.float32], slots: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Return the drives `[n, inputs]` of `shares` `[reads x slots, inputs]` without those that repeat the slot before
    them in the same read; the number of slots that each lasts, `[n]`; and the first drive of each read, `[reads]`."""
    first = np.arange(0, len(shares), slots)
    new = np.ones(len(shares), dtype=np.bool_)
    new[1:] = (shares[1:] != shares[:-1]).any(axis=1)
    new[first] = True
    kept = np.flatnonzero(new)
    lasts = np.diff(kept, append=len(shares)).astype(np.float32)
    return shares[kept], lasts, np.searchsorted(kept, first)


def by_slice(values: NDArray[Any], slices: int) -> NDArray[Any]:
    """Return `[vectors, passes, outputs x slices]` as files have them: the same for one slice, else with an axis of
    slices after that of passes, `[vectors, passes, slices, outputs]`."""
    if slices == 1:
        return values
    return values.reshape(*values.shape[:2], -1, slices).swapaxes(2, 3)


def full_scale_amps(encoding: Encoding, inputs: int, weight_bits: int, input_bits: int) -> float:
    """Return the full-scale current of a slice of an output: all cells at the top code under the strongest drive of one
    pass.

    It is `lsb_amps` times inputs, times the highest code of a cell that weights of that width have, times the largest
    drive. Errors are stated as fractions of it.
    """
    per_pass = (2**input_bits - 1) if encoding.passes(input_bits) == 1 else 1
    top = min(2**weight_bits, len(encoding.level_amps)) - 1
    return float(encoding.lsb_amps * inputs * top * per_pass)
