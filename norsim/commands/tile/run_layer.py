"""`norsim run-layer`: read one layer, or one of its tiles, and store its currents."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from norsim.backends.registry import BACKENDS, backend_named
from norsim.commands.shared import show
from norsim.commands.shared.device_option import device_of_reads, device_option
from norsim.commands.shared.network_options import model_is_trusted, network_options
from norsim.commands.shared.options import (
    check_network,
    check_out,
    chip_of_options,
    chip_options,
    copies,
    is_dry_run,
    open_run,
    parse_tile,
    print_json,
    resume_options,
    run_options,
    scheduler_options,
    show_estimate,
    workers_for,
)
from norsim.commands.shared.progress import reporting
from norsim.files import make_folder, write_atomically, write_text
from norsim.jobs.phases import Phases, step

if TYPE_CHECKING:
    from norsim.experiments.experiment import Experiment
    from norsim.periphery.encoding import Codes
    from norsim.tiling.grid import TileGrid
    from norsim.tiling.reader import Reader
    from norsim.tiling.tile import PlacedTile, TileRead


@click.command("run-layer")
@network_options
@click.option("--layer", required=True, help="Name of a layer of the network.")
@click.option("--tile", metavar="R,C", help="Row and column of one tile; all tiles of the layer by default.")
@click.option("--vectors", default="8", show_default=True, metavar="K|FILE",
              help="Number of activation vectors to draw from the test images, or a .npy file of codes.")  # fmt: skip
@click.option("--backend", type=click.Choice(list(BACKENDS)), default="ngspice", show_default=True,
              help="Solver that reads the tiles; ideal computes integers instead.")  # fmt: skip
@device_option
@chip_options
@resume_options
@scheduler_options
@run_options
def command(
    network: str, dataset: str | None, data_folder: Path | None, layer: str, tile: str | None, vectors: str,
    backend: str, chip_name: str, encoding: str | None, settings: tuple[str, ...],
    seed: int, jobs: int, out: Path | None, as_json: bool, quiet: bool, verbose: bool,
) -> None:  # fmt: skip
    """Read one layer, or one of its tiles, for some activation vectors, and write the currents to DIR/currents.npz.

    \b
    Examples:
      norsim run-layer --network digits-cnn --layer fc --tile 1,0 --vectors 4
      norsim run-layer --network digits-cnn --layer conv1 --backend macro --json
    """
    started = time.monotonic()
    check_out("run-layer", out)
    check_network(network)
    only = parse_tile(tile) if tile is not None else None
    choice = chip_of_options(chip_name, encoding, settings, seed)

    phases = Phases()
    with reporting(quiet, phases) as report, step(report, "import"):
        from norsim.evaluation.dry_run.estimate import estimate_reads
        from norsim.experiments.experiment import open_experiment
        from norsim.quantization.forward import device_name
        from norsim.tiling.on_device.reading import read_tiles
        from norsim.tiling.read_noise import ReadNoise
        from norsim.tiling.reader import Reader

    wanted = backend_named(backend)
    device = device_of_reads(wanted)
    with reporting(quiet, phases) as report:
        one = open_experiment(
            network, choice, dataset, data_folder, backend=backend, seed=seed, trusted=model_is_trusted(),
            report=report,
        )  # fmt: skip
    grid = one.grid(layer)
    part = grid.at(*only) if only else None
    grid = replace(grid, tiles=(part,)) if part else grid
    with reporting(quiet, phases) as report, step(report, "data test"):
        codes = one.vectors(layer, part, vectors, seed)
    if is_dry_run():
        parts = () if wanted.gives_integers else grid.tiles
        show_estimate(estimate_reads(parts, codes, wanted, jobs=jobs, copies=copies(),
                                     set_up_seconds=time.monotonic() - started), as_json)  # fmt: skip
        return
    with reporting(quiet, phases) as report, workers_for(jobs) as workers:
        folder = open_run("run-layer", out, choice, seed, phases, device_name(device))
        reader = Reader(wanted, workers, report, store=folder.units, noise=ReadNoise(seed))
        if not wanted.gives_integers:
            grid = grid.program(wanted, partial(report, f"program {layer}"))
            grid = fitted(one, grid, replace(reader, phase="calibrate"), seed)
            write_decks(grid, codes, folder.path / "netlists")
        results = read_tiles(grid, codes, reader, device)
    for placed, read in zip(grid.tiles, results, strict=True):
        name = "currents.npz" if only else f"currents_{placed.row}_{placed.column}.npz"
        save(folder.path / name, placed, codes, read)
    seconds = time.monotonic() - started
    summary = summarize(network, layer, tile, backend, grid.tiles, len(codes), device_name(device), seconds)
    summary["clipped_cells"] = grid.clipped.content()
    folder.finish(summary)
    if as_json:
        print_json({**summary, "out": str(folder.path)})
        return
    worst = [
        f"{np.abs(read.sums - placed.ideal_sums(codes)).max():.2f}"
        for placed, read in zip(grid.tiles, results, strict=True)
    ]
    show.table_or_lines(
        ("", "vectors", "largest deviation from the integers, steps"),
        [(placed.name, str(len(codes)), most) for placed, most in zip(grid.tiles, worst, strict=True)],
        [
            f"{placed.name}: {len(codes)} vectors, largest deviation from the integers {most} steps"
            for placed, most in zip(grid.tiles, worst, strict=True)
        ],
    )
    show.say(f"Computed on: {summary['device']}")
    show.say_path(f"Currents are in {folder.path}")


def fitted(one: Experiment, grid: TileGrid, reader: Reader, seed: int) -> TileGrid:
    """Return the tiles of a layer, programmed and calibrated on training images."""
    from norsim.tiling.calibrate import fit_layer
    from norsim.tiling.modules import layer_vectors

    deployment, name = one.net.parts.deployment, grid.layer.name
    assert deployment.inputs is not None
    with step(reader.report, "data"):
        images = deployment.inputs(grid.chip.calibration.images)
    reader.report(f"calibrate {name}", 0, len(grid.tiles))
    return fit_layer(grid, layer_vectors(one.net.parts.analog, images, [name])[name], reader, seed)


def write_decks(grid: TileGrid, codes: Codes, folder: Path) -> None:
    """Write the deck of each tile for the layer's `[vectors, inputs]` codes, like `build-netlist`."""
    from norsim.spice.deck import deck

    make_folder(folder)
    for part, array in zip(grid.tiles, grid.arrays, strict=True):
        write_text(folder / f"tile_{part.row}_{part.column}.cir", deck(array.tile, array.drive(part.codes(codes))))


def save(path: Path, part: PlacedTile, codes: Codes, read: TileRead) -> None:
    """Write currents.npz of one tile, for the layer's codes `[vectors, inputs]`."""
    from norsim.periphery.encoding import by_slice

    slices = part.encoding.slices
    arrays: dict[str, Any] = {
        "codes": part.codes(codes),
        "weights": part.weights,
        "weight_zero": np.array(part.layer.weight_zero),
        "currents": by_slice(read.amps, slices),
        "adc": by_slice(read.adc.astype(np.int32), slices),
        "mac": read.sums,
        "mac_ideal": part.ideal_sums(codes),
    }
    write_atomically(path, lambda file: np.savez_compressed(file, **arrays))


def summarize(
    network: str, layer: str, tile: str | None, backend: str, parts: Sequence[PlacedTile], vectors: int, device: str,
    seconds: float,
) -> dict[str, Any]:  # fmt: skip
    """Return the content of `run-layer --json`; sizes are those of the tile, or lists over all tiles.

    Every read has converged, because a read that does not converge raises an error.
    """
    encoding = parts[0].chip.encoding
    shapes = [part.cell_codes().shape for part in parts]
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
        "converged": True,
        "device": device,
        "seconds": round(seconds, 3),
    }
