"""`norsim build-netlist`: the deck of one tile, complete in itself, and a JSON file that explains it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np

from norsim.commands.network_options import network_options
from norsim.commands.options import chip_options, choose_chip, parse_tile, print_json, run_options
from norsim.commands.setup import subject
from norsim.network.placement import PlacedTile
from norsim.runs import RunFolder, default_folder, write_text
from norsim.spice.deck import RAW_FILE, deck


@click.command("build-netlist")
@network_options
@click.option("--layer", required=True, help="Name of a layer, as in the network.")
@click.option("--tile", default="0,0", show_default=True, metavar="R,C", help="Row and column of the tile.")
@click.option("--vectors", default="8", show_default=True, metavar="K|FILE",
              help="How many activation vectors to draw from the test images, or a .npy file of codes.")  # fmt: skip
@chip_options
@run_options
def command(
    network: str, dataset: str | None, data_folder: Path | None, layer: str, tile: str, vectors: str,
    chip_name: str, encoding: str | None, settings: tuple[str, ...],
    seed: int, jobs: int, out: Path | None, as_json: bool, quiet: bool, verbose: bool,
) -> None:  # fmt: skip
    """Write the deck of one tile: DIR/tile.cir, and DIR/tile.json which says what it holds.

    \b
    Run it by hand:  cd DIR && ngspice -b tile.cir      writes currents.raw
    Example:         norsim build-netlist --network digits-cnn --layer conv1 --vectors 4 --out runs/deck
    """
    choice = choose_chip(chip_name, encoding, settings, seed)
    chosen = subject(network, choice.chip, dataset, data_folder)
    part = chosen.grid(layer).at(*parse_tile(tile))
    codes = chosen.vectors(layer, part, vectors, seed)
    placed, stimulus = part.tile(), part.drive(codes)
    folder = RunFolder(out or default_folder("build-netlist"), choice.content, choice.path, seed)
    description = describe(part, len(codes), placed.wordlines, placed.bitlines)
    write_text(folder.path / "tile.cir", deck(placed, stimulus))
    write_text(folder.path / "tile.json", json.dumps(description) + "\n")
    folder.event("finished")
    if as_json:
        print_json({**description, "out": str(folder.path)})
    else:
        click.echo(f"{folder.path / 'tile.cir'}: {placed.wordlines} wordlines x {placed.bitlines} bitlines, "
                   f"{stimulus.vectors} reads. Run: cd {folder.path} && ngspice -b tile.cir")  # fmt: skip


def describe(part: PlacedTile, vectors: int, rows: int, columns: int) -> dict[str, Any]:
    """The content of tile.json: what each raw-file vector and each sweep point means."""
    encoding, layer = part.chip.encoding, part.layer
    passes = encoding.passes(layer.input_bits)
    short = {"bitline": "vbl", "source": "vsl"}
    sense = encoding.sense(len(part.outputs))
    return {
        "layer": layer.name,
        "tile": [part.row, part.column],
        "encoding": encoding.name,
        "rows": rows,
        "columns": columns,
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
        "level_thresholds": part.levels().thresholds.tolist(),
        "cell_codes": encoding.cell_codes(part.weights, layer.weight_zero).astype(np.int64).tolist(),
        "raw_file": RAW_FILE,
    }
