"""How weights map to cells: slices of a weight over several cells, and the source of the zero point's term.

A weight code q of more bits than a cell has is cut into slices, digits to the base B = 2^cell_bits, least significant
first (Shafiee et al., "ISAAC", ISCA 2016, section III):

    q = sum_s B^s q_s,      0 <= q_s < B.

Each slice has a cell, a summing line and a conversion of its own; the converted sums are added digitally, with the
weights B^s. The term of the zero point z in sum_i (q_i - z) x_i comes, slice by slice, from
  * `reference`: a column of cells at digit z_s in each strapped group, subtracted before the converter: it shares the
    source line of its neighbours, so IR drop distorts it as it distorts them;
  * `digital`: -z sum_i x_i, computed from the inputs;
  * `differential`: two cells per slice, one with the digit of max(q - z, 0) and one with that of max(z - q, 0).
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from norsim.array.tile import Floats
from norsim.configuration.section import Section

Codes = NDArray[np.uint8]
Scheme = Literal["reference", "digital", "differential"]


class MappingSection(Section):
    """Keys of `mapping`: how weights map to cells.

    A weight of more than `cell_bits` bits is cut into slices, in cells of neighbouring columns within one strapped
    group. Each slice is converted by itself, and the sums are added digitally.
    """

    cell_bits: Annotated[int, Field(ge=1, le=4)] = 4
    """Bits that a cell holds: it has 2^cell_bits levels, and `top_level` is the current of the highest one."""
    scheme: Scheme = "reference"
    """Source of the term of the weights' zero point. `linear-pair` is differential by nature, and ignores this key."""


def slices_of(weight_bits: int, cell_bits: int) -> int:
    """Return the number of cells, of `cell_bits`, that hold a weight code of `weight_bits`."""
    return -(-weight_bits // cell_bits)


def slice_values(cell_bits: int, slices: int) -> Floats:
    """Return the place value of each slice of a weight, `[slices]`, least significant first."""
    return np.exp2(cell_bits * np.arange(slices, dtype=np.float64))


def digits(codes: NDArray[np.integer], cell_bits: int, slices: int) -> Codes:
    """Cut codes of any shape into `[..., slices]` digits, least significant first."""
    places = cell_bits * np.arange(slices)
    found: Codes = (codes[..., None].astype(np.int64) >> places & 2**cell_bits - 1).astype(np.uint8)
    return found


def halves(weights: Codes, zero: int, cell_bits: int, slices: int) -> tuple[Codes, Codes]:
    """Return the digits `[..., slices]` of max(q - z, 0) and of max(z - q, 0) for weight codes q of any shape."""
    signed = weights.astype(np.int64) - zero
    return digits(np.maximum(signed, 0), cell_bits, slices), digits(np.maximum(-signed, 0), cell_bits, slices)


def slice_names(names: list[str], slices: int) -> list[str]:
    """Return the name of each slice of each output, given the names of outputs: slices of an output in order."""
    if slices == 1:
        return names
    return [f"{name}, slice {number}" for name in names for number in range(slices)]
