"""`norsim export`: a network on a chip as files that other programs read."""

from __future__ import annotations

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
    print_json,
    run_options,
    workers_for,
)
from norsim.commands.shared.progress import reporting
from norsim.files import write_text

# The names of norsim.exports.registry.EXPORTERS, whose modules import torch.
FORMATS = ("accelergy", "aihwkit", "neurosim", "tester")
# Test images, at most, that show each tile its inputs.
IMAGES = 32


@click.command("export")
@click.option("--to", "form", type=click.Choice(FORMATS), required=True, help="Program that reads the files.")
@network_options
@chip_options
@run_options
def command(
    form: str, network: str, dataset: str | None, data_folder: Path | None,
    chip_name: str, encoding: str | None, settings: tuple[str, ...],
    seed: int, jobs: int, out: Path | None, as_json: bool, quiet: bool, verbose: bool,
) -> None:  # fmt: skip
    """Write a network on a chip as files of another program.

    accelergy: energy and area of each part of each tile, and how often it is read for an image, as
    ERT.yaml, ART.yaml and action_counts.yaml.

    aihwkit: each tile's weights, and gain, offset and noise of its sums over 32 test images, as tiles.json,
    with the Python file that makes inference tiles of aihwkit from it.

    neurosim: weights, activation bits, conductances and their moments, as the CSV files of DNN+NeuroSim.

    tester: address, target current and threshold of each cell, as a CSV file a tile.

    \b
    Examples:
      norsim export --to accelergy --network digits-cnn --out runs/accelergy
      norsim export --to tester --network digits-cnn --chip etox65 --out runs/tester
    """
    started = time.monotonic()
    check_out("export", out)
    check_network(network)
    choice = chip_of_options(chip_name, encoding, settings, seed)
    with reporting(quiet) as report:
        from norsim.data.tensors import tensors_of
        from norsim.experiments.experiment import open_experiment
        from norsim.exports.registry import EXPORTERS

        one = open_experiment(
            network, choice, dataset, data_folder, seed=seed, trusted=model_is_trusted(), report=report
        )  # fmt: skip
        few = one.sample(None, report=report)[0]
        images = tensors_of(few.take(min(IMAGES, len(few))))[0]
        with workers_for(jobs) as workers:
            one.net.calibrate(workers=workers, report=report)
        texts = EXPORTERS[form](one.net.parts.analog, images)
        folder, names = open_run("export", out, choice, seed), []
        for name, text in texts:
            write_text(folder.path / name, text)
            names.append(name)
    summary = {
        "network": network, "to": form, "files": names, "seed": seed, "seconds": time.monotonic() - started,
    }  # fmt: skip
    folder.finish(summary)
    if as_json:
        print_json({**summary, "out": str(folder.path)})
    else:
        click.echo(f"{folder.path}: {len(names)} files, for example {names[0]}")
