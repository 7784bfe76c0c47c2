"""What a tester programs: address, target current and threshold of each cell, as a CSV file a tile.

Program-verify aims at a current. The threshold beside it is that of the nominal cell with this current, for testers
that set thresholds, or pulses from a table of them. Neither contains what a chip does with it: spread, ageing and
mismatch are the tester's to measure."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import nn

from norsim.backends.programming import amps_of
from norsim.data.inputs.structure import Structure
from norsim.exports.names import layers_on_array, plain_names
from norsim.tiling.modules import TiledLayer
from norsim.tiling.program import aimed_at
from norsim.tiling.tile import PlacedTile

TILES = "tiles.csv"
TILES_HEAD = (
    "file,layer,tile_row,tile_column,wordlines,bitlines,verify_gate_volts,verify_drain_volts,verify_kelvin,"
    "first_input,last_input,first_output,last_output"
)
CELLS_HEAD = "wordline,bitline,level,target_amps,threshold_volts"


def files(model: nn.Module, images: Structure) -> Iterator[tuple[str, str]]:
    """Return name and text of `tiles.csv`, a row a tile, and of `LAYER_tile_R_C.csv`, a row a cell, for a network.

    Levels count from 0, whose cells must not conduct in `bit-serial`; the target current of a level is that of a cell
    alone at the gate and drain volts of program-verify. With `silicon.in_situ` each cell has a current of its own.
    Layers that stay digital have no cells. Raises ConfigurationError if there are no others.
    """
    layers = layers_on_array(model, "cells to program")
    names = plain_names(list(layers))
    return _files({names[name]: (name, layer) for name, layer in layers.items()})


def _files(layers: dict[str, tuple[str, TiledLayer]]) -> Iterator[tuple[str, str]]:
    rows = [TILES_HEAD]
    for plain, (name, layer) in layers.items():
        for part in layer.grid.tiles:
            file = f"{plain}_tile_{part.row}_{part.column}.csv"
            text, (wordlines, bitlines) = cells(part)
            yield file, text
            gate, drain = part.chip.encoding.verify_volts
            rows.append(
                f"{file},{name},{part.row},{part.column},{wordlines},{bitlines},{gate:g},{drain:g},"
                f"{part.chip.verify_cell.temperature_kelvin:g},{part.inputs.start},{part.inputs.stop - 1},"
                f"{part.outputs.start},{part.outputs.stop - 1}"
            )
    yield TILES, "\n".join(rows) + "\n"


def cells(part: PlacedTile) -> tuple[str, tuple[int, int]]:
    """Return the rows of the cells of a tile as text, and its numbers of wordlines and bitlines."""
    tile, target = aimed_at(part)
    levels = part.cell_codes()
    if part.chip.in_situ:
        # In the array the cell conducts its level, under the usual load; alone it conducts more.
        alone = amps_of(part.chip.verify_cell, *part.chip.encoding.verify_volts)(tile.thresholds)
        target = np.where(target > 0, alone, 0.0)
    places = np.indices(levels.shape).reshape(2, -1)
    lines = (
        f"{row},{column},{level},{amps:.6e},{volts:.6f}"
        for row, column, level, amps, volts in zip(
            *places.tolist(), levels.ravel().tolist(), target.ravel().tolist(), tile.thresholds.ravel().tolist(),
            strict=True,
        )
    )  # fmt: skip
    return "\n".join((CELLS_HEAD, *lines)) + "\n", (levels.shape[0], levels.shape[1])
