"""Kept reads in files: as a table beside a finished batch, and as the file samples.npz of a run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]

from norsim.array.measured import Measured
from norsim.array.tile import Stimulus
from norsim.chip.model import Chip
from norsim.errors import DataError
from norsim.evaluation.proof.sampling import Sample
from norsim.periphery.adc import Adc
from norsim.quantization.layer import QuantizedLayer
from norsim.tiling.fit import on_chip
from norsim.tiling.grid import TileGrid
from norsim.tiling.tile import placed_tile

# The arrays of samples.npz: each holds the values of all reads, one read after the other.
VALUES = ("wordline_volts", "bitline_volts", "amps", "adc", "line_noise")
# Where the place of a read has the lengths of these; the converter ranges of slices beyond the first follow.
LENGTHS = 10


def samples_table(samples: Sequence[Sample]) -> pa.Table:
    """Return a table with one row per read: place, random key, volts and results."""
    volts, amps = {"unit": "V"}, {"unit": "A"}
    schema = pa.schema([
        pa.field("layer", pa.string()), pa.field("row", pa.int32()), pa.field("column", pa.int32()),
        pa.field("pass", pa.int32()), pa.field("key", pa.float64()), pa.field("tile_key", pa.float64()),
        pa.field("wordline_volts", pa.list_(pa.float64()), metadata=volts),
        pa.field("bitline_volts", pa.list_(pa.float64()), metadata=volts),
        pa.field("amps", pa.list_(pa.float64()), metadata=amps), pa.field("adc", pa.list_(pa.int32())),
        pa.field("line_noise", pa.list_(pa.float64()), metadata=amps),
    ])  # fmt: skip
    rows = [
        {
            "layer": sample.part.layer.name, "row": sample.part.row, "column": sample.part.column,
            "pass": sample.pass_index, "key": sample.key, "tile_key": sample.tile_key,
            "wordline_volts": sample.stimulus.wordline_volts.ravel(),
            "bitline_volts": sample.stimulus.bitline_volts.ravel(), "amps": sample.amps, "adc": sample.adc,
            "line_noise": sample.line_noise,
        }
        for sample in samples
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=schema)


def samples_of(table: pa.Table, grids: Mapping[str, TileGrid]) -> list[Sample]:
    """Invert `samples_table`; the reads are on the tiles of `grids`, by layer."""
    arrays = {name: dict(zip(grid.tiles, grid.arrays, strict=False)) for name, grid in grids.items()}
    found = []
    for row in table.to_pylist():
        part = grids[row["layer"]].at(row["row"], row["column"])
        wordlines, bitlines = (np.array(row[name], np.float64).reshape(part.slots, -1) for name in VALUES[:2])
        amps, adc = np.array(row["amps"], dtype=np.float64), np.array(row["adc"], dtype=np.int32)
        stimulus = Stimulus(wordlines, bitlines, off_volts=part.encoding.off_volts)
        array = arrays[row["layer"]].get(part)
        noise = None if row["line_noise"] is None else np.array(row["line_noise"], dtype=np.float64)
        found.append(Sample(row["key"], part, stimulus, amps, adc, array, row["pass"], noise, row["tile_key"]))
    return found


def save_samples(samples: Sequence[Sample], at_random: int, file: BinaryIO) -> None:
    """Write reads as a NumPy archive. The `at_random` reads with the smallest keys were drawn from all reads of the
    run. The digests of weights, cells and tables of measured cells are kept too, to notice later changes."""
    places = [
        [
            sample.part.layer.name, sample.part.row, sample.part.column, first.bits, first.low_amps, first.high_amps,
            sample.part.chip.draw.chip, sample.pass_index, sample.key, sample.tile_key,
            [len(values) for values in _values(sample)],
            *([adc.low_amps, adc.high_amps] for adc in others),
        ]
        for sample in samples
        for first, *others in [sample.part.adcs]
    ]  # fmt: skip
    arrays = {
        name: np.concatenate([_values(sample)[k] for sample in samples]) if samples else np.empty(0)
        for k, name in enumerate(VALUES)
    }
    parts = {sample.part.layer.name: sample.part for sample in samples}
    read = {name: _digests(part.layer, part.chip) for name, part in parts.items()}
    text = np.array(json.dumps({"at_random": at_random, "places": places, "read": read}))
    np.savez_compressed(file, allow_pickle=False, reads=text, **arrays)


def load_samples(path: Path, grids: Mapping[str, TileGrid]) -> tuple[list[Sample], int]:
    """Return the reads that a run kept, on the tiles of `grids`, by layer, and how many were drawn from all of its
    reads: those with the smallest keys. Raises DataError for other files, and for a network or a cell that was changed
    since the run."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as kept:
            if "places" in kept.files:
                raise DataError(
                    f"{path} holds reads of version 0.1, which are no random sample of the run's reads, so they cannot "
                    "verify it; make the run again"
                )
            content = json.loads(str(kept["reads"]))
            values = {name: kept[name] for name in VALUES}
        _check_unchanged(path, content.get("read", {}), grids)
        starts = [0] * len(VALUES)
        samples = []
        for place in content["places"]:
            ends = [start + length for start, length in zip(starts, place[LENGTHS], strict=True)]
            own = [values[name][start:end] for name, start, end in zip(VALUES, starts, ends, strict=True)]
            samples.append(_sample(place, own, grids))
            starts = ends
        return samples, int(content["at_random"])
    except DataError:
        raise
    except Exception as problem:  # NumPy and zipfile raise anything on a damaged file
        raise DataError(f"{path} does not hold sampled reads of this network and chip: {problem}") from None


def _digests(layer: QuantizedLayer, chip: Chip) -> dict[str, str]:
    """Return what identifies the weights of a layer, the cell that holds them, and tables of measured cells."""
    shape = repr((layer.weights.shape, layer.weight_zero, layer.weight_bits, layer.input_bits)).encode()
    tables = [
        part.digest for one in chip.silicon.mechanisms for part in vars(one).values() if isinstance(part, Measured)
    ]
    return {
        "weights": hashlib.sha256(shape + layer.weights.tobytes()).hexdigest(), "cell": chip.cell.digest,
        "table of measured cells": " ".join(tables),
    }  # fmt: skip


def _check_unchanged(path: Path, then: Mapping[str, Mapping[str, str]], grids: Mapping[str, TileGrid]) -> None:
    """Raise DataError if weights or cells of the layers that were read are not those of the run."""
    for name, digests in then.items():
        now = _digests(grids[name].layer, grids[name].chip) if name in grids else {}
        for what, digest in digests.items():
            if now.get(what) != digest:
                raise DataError(
                    f"the {what} of layer {name} changed since the run whose reads {path} holds, so the run cannot be "
                    "solved again; restore the files of its network and its chip, or make the run again"
                )


def _values(sample: Sample) -> tuple[np.ndarray[Any, Any], ...]:
    noise = np.empty(0) if sample.line_noise is None else sample.line_noise
    volts = sample.stimulus.wordline_volts.ravel(), sample.stimulus.bitline_volts.ravel()
    return *volts, sample.amps, sample.adc, noise


def _sample(place: Sequence[Any], values: Sequence[np.ndarray[Any, Any]], grids: Mapping[str, TileGrid]) -> Sample:
    name, row, column, bits, low, high, chip, pass_index, key, tile_key, _, *ranges = place
    part = grids[name].at(row, column)
    wordlines, bitlines, amps, codes, noise = values
    if not amps.shape == codes.shape == (part.conversions,):
        raise ValueError(f"a read does not fit {part.name}")
    specimen = part.chip.specimen(part.chip.draw.seed, int(chip))
    placed = placed_tile(part.layer, specimen, part.row, part.column, part.inputs, part.outputs)
    there, off = on_chip(placed, specimen), part.encoding.off_volts
    stimulus = Stimulus(wordlines.reshape(part.slots, -1), bitlines.reshape(part.slots, -1), off_volts=off)
    adcs = tuple(Adc(bits, *ends) for ends in ((low, high), *ranges))
    return Sample(
        float(key), replace(there, adcs=adcs), stimulus, amps, codes, None,
        int(pass_index), noise if len(noise) else None, float(tile_key),
    )  # fmt: skip
