"""`norsim run-layer`: read one layer, or one tile of it, and keep its currents."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from norsim.array.tile import Currents
from norsim.backends.batch import read_all
from norsim.backends.registry import BACKENDS
from norsim.commands.shared import show
from norsim.commands.shared.network_options import model_is_trusted, network_options
from norsim.commands.shared.options import (
    chip_options,
    choose_chip,
    copies,
    is_dry_run,
    open_run,
    parse_tile,
    print_json,
    resume_options,
    run_options,
    scheduler_options,
    show_estimate,
    working,
)
from norsim.commands.shared.progress import Report, reporting
from norsim.evaluation.estimate import estimate_reads
from norsim.experiments.experiment import Subject, subject
from norsim.experiments.run_folder import RunFolder
from norsim.files import write_atomically, write_text
from norsim.periphery.encoding import Codes
from norsim.spice.deck import deck
from norsim.tiling.calibrate import calibrate_layer
from norsim.tiling.modules import layer_codes
from norsim.tiling.reader import Reader
from norsim.tiling.tile import PlacedTile, TileRead, ideal_sums, result


@click.command("run-layer")
@network_options
@click.option("--layer", required=True, help="Name of a layer, as in the network.")
@click.option("--tile", metavar="R,C", help="Row and column of one tile; all tiles of the layer by default.")
@click.option("--vectors", default="8", show_default=True, metavar="K|FILE",
              help="How many activation vectors to draw from the test images, or a .npy file of codes.")  # fmt: skip
@click.option("--backend", type=click.Choice(["ideal", *BACKENDS]), default="ngspice", show_default=True)
@chip_options
@resume_options
@scheduler_options
@run_options
def command(
    network: str, dataset: str | None, data_folder: Path | None, layer: str, tile: str | None, vectors: str,
    backend: str, chip_name: str, encoding: str | None, settings: tuple[str, ...],
    seed: int, jobs: int, out: Path | None, as_json: bool, quiet: bool, verbose: bool,
) -> None:  # fmt: skip
    """Read one layer, or one tile of it, for some activation vectors; currents go to DIR/currents.npz.

    \b
    Examples:
      norsim run-layer --network digits-cnn --layer fc --tile 1,0 --vectors 4
      norsim run-layer --network digits-cnn --layer conv1 --backend macro --json
    """
    started = time.monotonic()
    choice = choose_chip(chip_name, encoding, settings, seed)
    chosen = subject(network, choice.chip, dataset, data_folder, trusted=model_is_trusted())
    only = parse_tile(tile) if tile is not None else None
    part = chosen.grid(layer).at(*only) if only else None
    codes = chosen.vectors(layer, part, vectors, seed)
    if is_dry_run():
        parts = [] if backend == "ideal" else [part] if part else list(chosen.grid(layer).tiles)
        show_estimate(estimate_reads(parts, codes, backend, jobs=jobs, copies=copies(),
                                     set_up_seconds=time.monotonic() - started), as_json)  # fmt: skip
        return
    with reporting(quiet) as report, working(jobs) as workers:
        folder = open_run("run-layer", out, choice, seed)
        reader = Reader(backend, workers, store=folder.units)
        parts, currents = read_layer(chosen, layer, only, codes, reader, seed, folder, report)
    results = [result(one, codes, read) for one, read in zip(parts, currents, strict=True)]
    for one, read in zip(parts, results, strict=True):
        name = "currents.npz" if only else f"currents_{one.row}_{one.column}.npz"
        save(folder.path / name, one, codes, read)
    converged = all(bool(read.converged.all()) for read in currents if read is not None)
    summary = summarize(network, layer, tile, backend, parts, len(codes), converged, time.monotonic() - started)
    folder.finish(summary)
    if as_json:
        print_json({**summary, "out": str(folder.path)})
        return
    worst = [
        f"{np.abs(read.sums - ideal_sums(one, codes)).max():.2f}" for one, read in zip(parts, results, strict=True)
    ]
    show.table_or_lines(
        ("", "vectors", "largest deviation from the integers, steps"),
        [(one.name, str(len(codes)), most) for one, most in zip(parts, worst, strict=True)],
        [
            f"{one.name}: {len(codes)} vectors, largest deviation from the integers {most} steps"
            for one, most in zip(parts, worst, strict=True)
        ],
    )
    show.say_path(f"Currents are in {folder.path}")


def read_layer(
    chosen: Subject, layer: str, only: tuple[int, int] | None, codes: Codes, reader: Reader, seed: int,
    folder: RunFolder, report: Report,
) -> tuple[list[PlacedTile], list[Currents | None]]:  # fmt: skip
    """Calibrated tiles and their currents under `codes`, `[vectors, inputs]`.

    For ngspice that is one deck a tile, the one that `build-netlist` writes.
    """
    grid = chosen.grid(layer)
    parts = [grid.at(*only)] if only else list(grid.tiles)
    if reader.backend == "ideal":
        return parts, [None] * len(parts)
    images = chosen.calibration_images(grid.chip.calibration.images, seed)
    watched = replace(reader, progress=partial(report, "calibrate"))
    seen = layer_codes(chosen.model, images, [layer])[layer]
    fitted = calibrate_layer(replace(grid, tiles=tuple(parts)), seen, watched, seed)
    requests = [(part.tile(), part.drive(codes)) for part in fitted.tiles]
    decks = folder.path / "netlists"
    decks.mkdir(exist_ok=True)
    for part, (tile, stimulus) in zip(fitted.tiles, requests, strict=True):
        write_text(decks / f"tile_{part.row}_{part.column}.cir", deck(tile, stimulus))
    currents = read_all(requests, reader.backend, reader.workers, partial(report, layer), reader.store)
    return list(fitted.tiles), list(currents)


def save(path: Path, part: PlacedTile, codes: Codes, read: TileRead) -> None:
    """One tile's currents.npz, for the layer's codes `[vectors, inputs]`."""
    arrays: dict[str, Any] = {
        "codes": part.codes(codes),
        "weights": part.weights,
        "weight_zero": np.array(part.layer.weight_zero),
        "currents": read.amps,
        "adc": read.adc.astype(np.int32),
        "mac": read.sums,
        "mac_ideal": ideal_sums(part, codes),
    }
    write_atomically(path, lambda file: np.savez_compressed(file, **arrays))


def summarize(
    network: str, layer: str, tile: str | None, backend: str, parts: list[PlacedTile], vectors: int,
    converged: bool, seconds: float,
) -> dict[str, Any]:  # fmt: skip
    """The keys of `run-layer --json`; sizes are those of the tile, or lists over all tiles."""
    encoding = parts[0].chip.encoding
    shapes = [encoding.cell_codes(part.weights, part.layer.weight_zero).shape for part in parts]
    scales = [part.full_scale_amps for part in parts]
    one = tile is not None
    return {
        "network": network,
        "layer": layer,
        "tile": tile,
        "tiles": [[part.row, part.column] for part in parts],
        "backend": backend,
        "encoding": encoding.name,
        "vectors": vectors,
        "rows": shapes[0][0] if one else [shape[0] for shape in shapes],
        "columns": shapes[0][1] if one else [shape[1] for shape in shapes],
        "passes": encoding.passes(parts[0].layer.input_bits),
        "full_scale_amps": scales[0] if one else scales,
        "converged": converged,
        "seconds": round(seconds, 3),
    }
