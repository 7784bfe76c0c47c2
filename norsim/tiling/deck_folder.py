"""A folder of build-netlist, read back: the array of its deck, and the meaning of the deck's currents."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from norsim.array.tile import Currents, Floats, Stimulus, Tile
from norsim.chip.model import Chip
from norsim.errors import ConfigurationError
from norsim.files import unique_json
from norsim.periphery.encoding import Codes, Encoding, decode
from norsim.spice.elements import ammeters
from norsim.tiling.program import ProgrammedTile
from norsim.tiling.tile import PlacedTile

ARRAY = "tile.npz"
# Arrays that a tile may have besides its thresholds.
PER_TILE = ("gains", "offsets", "leaks")
# A deck's title as results repeat it, in their first bytes.
TITLE = re.compile(rb"NOR-flash tile, deck ([0-9a-f]{16})", re.IGNORECASE)
TITLE_WITHIN = 1 << 20
# Some file systems round the time of a file by as much.
CLOCKS_SECONDS = 2.0


@dataclass(frozen=True, eq=False)
class DeckFolder:
    """The array of a deck, and the meaning of its currents.

    `tile`, `stimulus`   of the deck
    `codes`     `[vectors, inputs]` activation codes of the stimulus
    `weights`   `[inputs, outputs]` weight codes of the tile, in the order of its lines
    `sense`     the ammeters of each slice of each output with their signs
    `points`    `[reads, 2 or 3]`: vector and pass of each read, and its slot if passes have several
    `weight_bits`   width of a weight code in slices; 1 for weights without slices, whatever their width
    `digest`    of the deck, in its title; empty for folders of earlier versions
    `written`   when the deck was written, seconds since 1970; 0 if that is unknown
    """

    chip: Chip
    tile: Tile
    stimulus: Stimulus
    codes: Codes
    weights: NDArray[np.int64]
    weight_zero: int
    sense: list[dict[str, int]]
    points: NDArray[np.int64]
    full_scale_amps: float
    weight_bits: int
    digest: str = ""
    written: float = 0.0

    @property
    def encoding(self) -> Encoding:
        """The chip's encoding for weights of as many slices as the deck has."""
        return self.chip.encoding.for_weights(self.weight_bits)

    def check_title(self, results: Path) -> None:
        """Raise ConfigurationError if a file of results is of another deck. Simulators repeat the title of a deck in
        their files, ngspice in every raw file; Xyce's tables have none, so a table older than the deck is refused."""
        if not self.digest:
            return
        with open(results, "rb") as file:
            start = file.read(TITLE_WITHIN)
        found = {match.decode().lower() for match in TITLE.findall(start)}
        if self.digest not in found and (found or start.startswith(b"Title:")):
            raise ConfigurationError(
                f"{results} has the results of another deck: its title has not {self.digest!r}, as tile.cir has. Run "
                "the simulator on this tile.cir, and import what it writes"
            )
        if not found and (age := self.written - results.stat().st_mtime) > CLOCKS_SECONDS:
            raise ConfigurationError(
                f"{results} is {age:.0f} s older than tile.cir, so it has the results of another deck. Run the "
                "simulator on this tile.cir, and import what it writes"
            )

    def amps(self, currents: Currents) -> Floats:
        """Return the `[vectors, passes, outputs x slices]` amperes of a read's currents."""
        lines = np.hstack([currents.bitline, currents.source])
        place = {name: k for k, name in enumerate(ammeters(self.tile))}
        signs = np.zeros((lines.shape[1], len(self.sense)))
        for output, parts in enumerate(self.sense):
            for name, sign in parts.items():
                signs[place[name], output] = sign
        found = np.empty((*(self.points.max(axis=0) + 1), len(self.sense)))
        found[tuple(self.points.T)] = lines @ signs
        return found if found.ndim == 3 else found.sum(axis=2)

    def sums(self, amps: Floats) -> Floats:
        """Return sums `[vectors, outputs]` from amperes `[vectors, passes, outputs x slices]`, by an ideal
        converter."""
        encoding = self.encoding
        return decode(encoding, amps / encoding.lsb_amps, self.codes, self.weight_zero)

    def exact_sums(self) -> Floats:
        """Return the exact integer sums `[vectors, outputs]`."""
        exact: Floats = (self.codes.astype(np.int64) @ (self.weights - self.weight_zero)).astype(np.float64)
        return exact


def titled(text: str) -> tuple[str, str]:
    """Return a deck with its digest in the title, and the digest."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    title, rest = text.split("\n", 1)
    return f"{title}, deck {digest}\n{rest}", digest


def save_array(file: BinaryIO, tile: Tile, stimulus: Stimulus, codes: Codes) -> None:
    """Write the array of a deck as a NumPy archive; codes are `[vectors, inputs]`."""
    more = {name: getattr(tile, name) for name in PER_TILE if getattr(tile, name) is not None}
    np.savez_compressed(
        file, allow_pickle=False, thresholds=tile.thresholds, codes=codes, wordline_volts=stimulus.wordline_volts,
        bitline_volts=stimulus.bitline_volts, source_volts=np.array(stimulus.source_volts), **more,
    )  # fmt: skip


def load_folder(folder: Path, chip: Chip) -> DeckFolder:
    """Return the content of a folder of build-netlist, on the chip stored there.

    Raises ConfigurationError for another folder, or if its files do not match each other.
    """
    try:
        description = unique_json((folder / "tile.json").read_text())
        with open(folder / ARRAY, "rb") as file, np.load(file, allow_pickle=False) as kept:
            arrays = dict(kept)
        found = replace(_deck_folder(description, arrays, chip), written=_written(folder / "tile.cir"))
    except Exception as problem:  # whatever a damaged archive makes NumPy raise
        raise ConfigurationError(
            f"{folder} is not a folder written by build-netlist for this chip: {problem}"
        ) from None
    _check(folder, found)
    return found


def _written(deck: Path) -> float:
    return deck.stat().st_mtime if deck.is_file() else 0.0


def _deck_folder(description: dict[str, Any], arrays: dict[str, Any], chip: Chip) -> DeckFolder:
    name = f"layer {description['layer']}, tile {description['tile']}"
    own: dict[str, Any] = {key: arrays.get(key) for key in PER_TILE}
    tile = Tile(arrays["thresholds"], chip.cell, chip.wires, name=name, **own)
    volts = arrays["wordline_volts"], arrays["bitline_volts"], float(arrays["source_volts"])
    stimulus = Stimulus(*volts, off_volts=chip.encoding.off_volts)
    each = description["sense"]
    if "slices" in description:
        each = [parts for of_output in zip(*each, strict=True) for parts in of_output]
    sense = [{str(name): int(sign) for name, sign in parts} for parts in each]
    points = np.array(description["points"], np.int64)
    return DeckFolder(
        chip, tile, stimulus, arrays["codes"].astype(np.uint8), np.array(description["weights"], np.int64),
        int(description["weight_zero"]), sense, points.reshape(len(points), -1),
        float(description["full_scale_amps"]), int(description.get("weight_bits", 1)),
        str(description.get("digest", "")),
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
        and found.weights.shape[1] * found.encoding.slices == len(found.sense)
        and named <= set(ammeters(tile))
        and found.full_scale_amps > 0
    )
    if not together:
        raise ConfigurationError(f"{folder}: tile.json, {ARRAY} and config.resolved.yaml do not match each other")


def describe_deck(part: PlacedTile, array: ProgrammedTile, vectors: int) -> dict[str, Any]:
    """Return the content of tile.json: the meaning of each vector of the raw file and of each sweep point."""
    encoding, layer = part.encoding, part.layer
    passes, slots = encoding.passes(layer.input_bits), part.slots
    places = (range(vectors), range(passes), *([range(slots)] if slots > 1 else []))
    points = [list(place) for place in product(*places)]
    short = {"bitline": "vbl", "source": "vsl"}
    sense = [
        [[f"i({short[line]}{index})", sign] for line, index, sign in lines]
        for lines in encoding.sense(len(part.outputs))
    ]
    sliced = {} if encoding.slices == 1 else {
        "slices": encoding.slices,
        "slice_values": encoding.slice_values.astype(int).tolist(),
        "weight_bits": layer.weight_bits,
    }  # fmt: skip
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
        **({"slots": slots} if slots > 1 else {}),
        "vectors": vectors,
        "full_scale_amps": part.full_scale_amps,
        "lsb_amps": encoding.lsb_amps,
        # As the currents: an axis of slices before that of outputs.
        "sense": sense if encoding.slices == 1 else [sense[one :: encoding.slices] for one in range(encoding.slices)],
        **sliced,
        "points": points,
        "weights": part.weights.tolist(),
        "weight_zero": layer.weight_zero,
        "level_thresholds": array.levels.thresholds.tolist(),
        "cell_codes": part.cell_codes().astype(np.int64).tolist(),
        "clipped_cells": array.clipped.content(),
    }
