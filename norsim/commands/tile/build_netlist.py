"""`norsim build-netlist`: the deck of one tile for a simulator, with its description."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from norsim.commands.shared.network_options import model_is_trusted, network_options
from norsim.commands.shared.options import (
    check_network,
    check_out,
    chip_of_options,
    chip_options,
    open_run,
    parse_tile,
    print_json,
    run_options,
)
from norsim.files import write_atomically, write_text
from norsim.spice.deck import RAW_FILE

# By dialect: the command that runs a deck, and the file that it writes.
RUNS = {
    "ngspice": ("ngspice -b tile.cir", RAW_FILE),
    "hspice": ("hspice -i tile.cir -o tile", "tile.lis"),
    "xyce": ("Xyce tile.cir", "currents.csv"),
    "vacask": ("vacask -sp -se tile.cir", RAW_FILE),
}


@click.command("build-netlist")
@network_options
@click.option("--layer", required=True, help="Name of a layer of the network; an unknown name lists all of them.")
@click.option("--tile", default="0,0", show_default=True, metavar="R,C", help="Row and column of the tile.")
@click.option("--vectors", default="8", show_default=True, metavar="K|FILE",
              help="Number of activation vectors to draw from the test images, or a .npy file of codes.")  # fmt: skip
@click.option("--dialect", type=click.Choice(list(RUNS)), default="ngspice", show_default=True,
              help="Simulator that the deck is written for.")  # fmt: skip
@chip_options
@run_options
def command(
    network: str, dataset: str | None, data_folder: Path | None, layer: str, tile: str, vectors: str, dialect: str,
    chip_name: str, encoding: str | None, settings: tuple[str, ...],
    seed: int, jobs: int, out: Path | None, as_json: bool, quiet: bool, verbose: bool,
) -> None:  # fmt: skip
    """Write the deck of one tile to DIR/tile.cir, and its description to DIR/tile.json.

    \b
    Run it by hand:  cd DIR && ngspice -b tile.cir      writes currents.raw
    Read it back:    norsim import-results DIR DIR/currents.raw

    \b
    Examples:
      norsim build-netlist --network digits-cnn --layer conv1 --vectors 4 --out runs/deck
      norsim build-netlist --network digits-cnn --layer fc --tile 1,0 --dialect hspice
    """
    started = time.monotonic()
    check_out("build-netlist", out)
    check_network(network)
    place = parse_tile(tile)
    choice = chip_of_options(chip_name, encoding, settings, seed)

    import numpy as np

    from norsim.experiments.experiment import open_experiment
    from norsim.spice.dialects import deck
    from norsim.spice.simulators.choice import chosen_simulator
    from norsim.spice.simulators.ngspice import mode_file
    from norsim.tiling.deck_folder import describe_deck, save_array, titled
    from norsim.tiling.program import program_tile, warn_of_cells

    # The levels can be known already, so that nothing else here would run the simulator.
    chosen_simulator(choice.chip.cell).warnings(choice.chip.cell, np.array([choice.chip.cell.erased_volts]))
    one = open_experiment(network, choice, dataset, data_folder, seed=seed, trusted=model_is_trusted())
    part = one.grid(layer).at(*place)
    codes, array = one.vectors(layer, part, vectors, seed), program_tile(part)
    warn_of_cells(part.name, array.clipped)
    placed, stimulus = array.tile, array.drive(part.codes(codes))
    (text, digest), (hint, results) = titled(deck(placed, stimulus, dialect)), RUNS[dialect]
    folder = open_run("build-netlist", out, choice, seed)
    described = describe_deck(part, array, len(codes))
    description = {**described, "dialect": dialect, "raw_file": results, "digest": digest}
    write_text(folder.path / "tile.cir", text)
    if placed.cell.compatibility:
        # `ngspice -b tile.cir` reads this first, so that the deck runs unchanged.
        write_text(folder.path / ".spiceinit", mode_file(placed.cell))
    write_atomically(folder.path / "tile.npz", lambda file: save_array(file, placed, stimulus, part.codes(codes)))
    write_text(folder.path / "tile.json", json.dumps(description) + "\n")
    folder.finish({
        "network": network, "layer": layer, "tile": described["tile"], "encoding": described["encoding"],
        "dialect": dialect, "vectors": len(codes), "rows": placed.wordlines, "columns": placed.bitlines,
        "raw_file": results, "seed": seed, "seconds": time.monotonic() - started,
    })  # fmt: skip
    if as_json:
        print_json({**description, "out": str(folder.path)})
    else:
        click.echo(f"{folder.path / 'tile.cir'}: {placed.wordlines} wordlines x {placed.bitlines} bitlines, "
                   f"{stimulus.vectors} reads. Run: cd {folder.path} && {hint}")  # fmt: skip
