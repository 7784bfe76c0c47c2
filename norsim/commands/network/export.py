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
FORMATS = ("accelergy",)


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

    \b
    Examples:
      norsim export --to accelergy --network digits-cnn --out runs/accelergy
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
        image = tensors_of(one.images(1, report=report)[0])[0]
        with workers_for(jobs) as workers:
            one.net.calibrate(workers=workers, report=report)
        texts = EXPORTERS[form](one.net.parts.analog, image)
    folder = open_run("export", out, choice, seed)
    for name, text in texts.items():
        write_text(folder.path / name, text)
    summary = {
        "network": network, "to": form, "files": list(texts), "seed": seed, "seconds": time.monotonic() - started,
    }  # fmt: skip
    folder.finish(summary)
    if as_json:
        print_json({**summary, "out": str(folder.path)})
    else:
        click.echo(f"{folder.path}: {', '.join(texts)}")
