"""A folder of build-netlist, read back: the array that its deck is of, and what the currents of it mean."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from norsim.array.tile import Currents, Floats, Stimulus, Tile
from norsim.chip.model import Chip
from norsim.errors import ConfigurationError
from norsim.periphery.encoding import Codes, decode
from norsim.spice.elements import ammeters
from norsim.tiling.program import ProgrammedTile
from norsim.tiling.tile import PlacedTile

ARRAY = "tile.npz"


@dataclass(frozen=True, eq=False)
class DeckFolder:
    """`tile`, `stimulus` are those of the deck; `codes` `[vectors, inputs]` and `weights` `[inputs, outputs]` what they
    stand for, in the order of the tile's lines; `sense` names and signs of the ammeters of each output; `points`
    `[reads, 2]` the vector and the pass of each read."""

    chip: Chip
    tile: Tile
    stimulus: Stimulus
    codes: Codes
    weights: NDArray[np.int64]
    weight_zero: int
    sense: list[dict[str, int]]
    points: NDArray[np.int64]
    full_scale_amps: float

    def amps(self, currents: Currents) -> Floats:
        """`[vectors, passes, outputs]` amperes of a read's currents."""
        lines = np.hstack([currents.bitline, currents.source])
        place = {name: k for k, name in enumerate(ammeters(self.tile))}
        signs = np.zeros((lines.shape[1], len(self.sense)))
        for output, parts in enumerate(self.sense):
            for name, sign in parts.items():
                signs[place[name], output] = sign
        found = np.empty((*(self.points.max(axis=0) + 1), len(self.sense)))
        found[self.points[:, 0], self.points[:, 1]] = lines @ signs
        return found

    def sums(self, amps: Floats) -> Floats:
        """`[vectors, outputs]`: what a converter without steps or limits makes of `[vectors, passes, outputs]`."""
        encoding = self.chip.encoding
        return decode(encoding, amps / encoding.lsb_amps, self.codes, self.weight_zero)

    def exact_sums(self) -> Floats:
        """`[vectors, outputs]`: the integers."""
        exact: Floats = (self.codes.astype(np.int64) @ (self.weights - self.weight_zero)).astype(np.float64)
        return exact


def save_array(file: BinaryIO, tile: Tile, stimulus: Stimulus, codes: Codes) -> None:
    """What a deck is of, as a NumPy archive; codes are `[vectors, inputs]`."""
    np.savez_compressed(
        file, allow_pickle=False, thresholds=tile.thresholds, codes=codes, wordline_volts=stimulus.wordline_volts,
        bitline_volts=stimulus.bitline_volts, source_volts=np.array(stimulus.source_volts),
    )  # fmt: skip


def load_folder(folder: Path, chip: Chip) -> DeckFolder:
    """The folder that build-netlist filled, on the chip that is kept there.

    Raises ConfigurationError where it is no such folder, or its files do not go together.
    """
    try:
        told = json.loads((folder / "tile.json").read_text())
        with open(folder / ARRAY, "rb") as file, np.load(file, allow_pickle=False) as kept:
            arrays = dict(kept)
        found = _built(told, arrays, chip)
    except Exception as problem:  # whatever a damaged archive makes NumPy raise
        raise ConfigurationError(f"{folder} is no folder of build-netlist, or not of this chip: {problem}") from None
    _check(folder, found)
    return found


def _built(told: dict[str, Any], arrays: dict[str, Any], chip: Chip) -> DeckFolder:
    tile = Tile(arrays["thresholds"], chip.cell, chip.wires, name=f"layer {told['layer']}, tile {told['tile']}")
    stimulus = Stimulus(arrays["wordline_volts"], arrays["bitline_volts"], float(arrays["source_volts"]))
    return DeckFolder(
        chip, tile, stimulus, arrays["codes"].astype(np.uint8), np.array(told["weights"], np.int64),
        int(told["weight_zero"]), [{str(name): int(sign) for name, sign in parts} for parts in told["sense"]],
        np.array(told["points"], np.int64).reshape(-1, 2), float(told["full_scale_amps"]),
    )  # fmt: skip


def _check(folder: Path, found: DeckFolder) -> None:
    tile, stimulus, points = found.tile, found.stimulus, found.points
    named = {name for parts in found.sense for name in parts}
    together = (
        stimulus.wordline_volts.shape[1] == tile.wordlines
        and stimulus.bitline_volts.shape[1] == tile.bitlines
        and len(points) == stimulus.vectors
        and points.min(initial=0) >= 0
        and len({tuple(point) for point in points.tolist()}) == len(points) == np.prod(points.max(axis=0) + 1)
        and found.codes.shape == (points[:, 0].max() + 1, len(found.weights))
        and found.weights.shape[1] == len(found.sense)
        and named <= set(ammeters(tile))
        and found.full_scale_amps > 0
    )
    if not together:
        raise ConfigurationError(f"{folder}: tile.json, {ARRAY} and config.resolved.yaml do not go together")


def describe_deck(part: PlacedTile, array: ProgrammedTile, vectors: int) -> dict[str, Any]:
    """The content of tile.json: what each raw-file vector and each sweep point means."""
    encoding, layer = part.chip.encoding, part.layer
    passes = encoding.passes(layer.input_bits)
    short = {"bitline": "vbl", "source": "vsl"}
    sense = encoding.sense(len(part.outputs))
    return {
        "layer": layer.name,
        "tile": [part.row, part.column],
        "encoding": encoding.name,
        "rows": array.tile.wordlines,
        "columns": array.tile.bitlines,
        "inputs": len(part.inputs),
        "outputs": len(part.outputs),
        "input_span": [part.inputs.start, part.inputs.stop],
        "output_span": [part.outputs.start, part.outputs.stop],
        "passes": passes,
        "vectors": vectors,
        "full_scale_amps": part.full_scale_amps,
        "lsb_amps": encoding.lsb_amps,
        "sense": [[[f"i({short[line]}{index})", sign] for line, index, sign in lines] for lines in sense],
        "points": [[vector, number] for vector in range(vectors) for number in range(passes)],
        "weights": part.weights.tolist(),
        "weight_zero": layer.weight_zero,
        "level_thresholds": array.levels.thresholds.tolist(),
        "cell_codes": part.cell_codes().astype(np.int64).tolist(),
    }
