"""What every encoding can do, in the terms the network side speaks.

An encoding says how activation codes become volts (in how many passes), how weight codes become
thresholds, and how currents become sums. Its unit current `lsb_amps` is what one (weight code x
activation code) step adds to an output in one pass; `value = amps / lsb_amps`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from norsim.array.tile import Currents, Floats, Stimulus

Codes = NDArray[np.uint8]
Sense = list[list[tuple[str, int, int]]]


class Encoding(Protocol):
    """One way to compute with the array; each lives in a file of its own."""

    def __hash__(self) -> int:
        """What is found for an encoding is remembered by it."""

    @property
    def name(self) -> str:
        """As in a chip file: `bit-serial`, `linear-pair`."""

    @property
    def lsb_amps(self) -> float:
        """Amperes of one unit of `value`."""

    @property
    def level_amps(self) -> Floats:
        """`[levels]`: the cell current that program-verify aims at for each code; 0 is fully programmed."""

    @property
    def verify_volts(self) -> tuple[float, float]:
        """Gate and drain volts of the program-verify read."""

    @property
    def wordline_volts(self) -> float:
        """Gate volts of a wordline that is up."""

    @property
    def top_drive(self) -> int:
        """What a line takes in one pass, at most, in units of an activation code's step."""

    @property
    def activation_bits(self) -> int:
        """The widest activation codes that it takes."""

    def driven(self, wordline_volts: float, dac_sigma: float, random: Callable[[], np.random.Generator]) -> Encoding:
        """The encoding as one chip's drivers do it: with these volts on a wordline that is up, and with a DAC whose
        levels, in steps, are off by `dac_sigma`, drawn from `random()` where it has one."""

    def capacity(self, wordlines: int, bitlines: int) -> tuple[int, int]:
        """(inputs, outputs) that fit a tile of that size."""

    def passes(self, input_bits: int) -> int:
        """Reads that one activation vector takes."""

    def cell_codes(self, weights: Codes, zero: int) -> Codes:
        """`[inputs, outputs]` weight codes and their zero -> `[wordlines, bitlines]` level codes."""

    def drives(self, codes: Codes) -> NDArray[np.generic]:
        """Activation codes -> what the lines really take, in units of a code's step; both `[vectors, inputs]`."""

    def drive(self, codes: Codes, outputs: int, input_bits: int) -> Stimulus:
        """`[vectors, inputs]` activation codes -> volts, `vectors x passes` reads, passes innermost."""

    def sense(self, outputs: int) -> Sense:
        """For each output the lines that make it: (`bitline` or `source`, index, +1 or -1)."""

    def pass_values(self, codes: Codes, weights: Codes, zero: int, input_bits: int) -> Floats:
        """`[vectors, passes, outputs]`: what exact cells and wires would give, in units of `lsb_amps`."""

    def place_values(self, passes: int) -> Floats:
        """`[passes]`: what each pass counts in the sum of (q - zero) x."""

    def digital_part(self, codes: Codes, zero: int) -> Floats | None:
        """`[vectors]`: what is added to the sums of every output without the array; None for nothing."""

    def order(self, loads: NDArray[np.int64], rows_per_source_line: int) -> NDArray[np.int64]:
        """`[inputs]`: in which order inputs with those loads, the sums of their weight codes, are best put on lines."""

    def line_notes(self, inputs: list[str], outputs: list[str], zero: int) -> tuple[list[str], list[str]]:
        """What wordlines and bitlines stand for, given the names of inputs and outputs."""


def tile_notes(encoding: Encoding, outputs: Sequence[str], state: str, thresholds: Floats) -> tuple[str, ...]:
    """What the cells and currents of a tile stand for, in lines for its deck.

    `outputs` are the names of its outputs, `state` that of a cell's threshold, `thresholds` `[levels]` volts.
    """
    meters = {"bitline": "vbl", "source": "vsl"}
    made = []
    for name, parts in zip(outputs, encoding.sense(len(outputs)), strict=True):
        terms = " ".join(f"{'+' if sign > 0 else '-'} i({meters[line]}{index})" for line, index, sign in parts)
        made.append(f"{name} = {terms.removeprefix('+ ')}")
    levels = [f"code {code}: {state}={float(volts)!r}" for code, volts in enumerate(thresholds)]
    return (
        "Levels, before programming in place, spread and what else moves thresholds:",
        *(f"  {', '.join(levels[k : k + 3])}" for k in range(0, len(levels), 3)),
        "Outputs are made of these currents:",
        *(f"  {', '.join(made[k : k + 3])}" for k in range(0, len(made), 3)),
        f"One step of an output (one of a weight code times one of the drive) is {encoding.lsb_amps:.6g} A.",
    )


def decode(encoding: Encoding, values: Floats, codes: Codes, zero: int) -> Floats:
    """`[vectors, passes, outputs]` values of activation `codes` -> `[vectors, outputs]` sums of (q - zero) x."""
    sums: Floats = np.einsum("vpo,p->vo", values, encoding.place_values(values.shape[1]))
    digital = encoding.digital_part(codes, zero)
    return sums if digital is None else sums + digital[:, None]


def sense_matrix(sense: Sense, kind: str, lines: int) -> Floats:
    """`[lines, outputs]`: the signs with which each output takes the lines of a kind (`bitline` or `source`)."""
    matrix = np.zeros((lines, len(sense)))
    for output, parts in enumerate(sense):
        for line, index, sign in parts:
            if line == kind:
                matrix[index, output] += sign
    return matrix


def sensed_amps(currents: Currents, sense: Sense) -> Floats:
    """`[reads, outputs]` amperes: the lines of each output added with their signs."""
    kinds = {"bitline": currents.bitline, "source": currents.source}
    used = sorted({line for parts in sense for line, _, _ in parts})
    each = [kinds[kind] @ sense_matrix(sense, kind, kinds[kind].shape[1]) for kind in used]
    total: Floats = np.sum(each, axis=0)
    return total


def full_scale_amps(encoding: Encoding, inputs: int, weight_bits: int, input_bits: int) -> float:
    """The current of an output whose cells all sit at the top code under the strongest drive.

    Errors are stated as fractions of it. `(2^weight_bits - 1)` codes, times the drive of one pass.
    """
    per_pass = (2**input_bits - 1) if encoding.passes(input_bits) == 1 else 1
    return float(encoding.lsb_amps * inputs * (2**weight_bits - 1) * per_pass)
