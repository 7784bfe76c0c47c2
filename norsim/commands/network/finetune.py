"""`norsim finetune`: train a quantized network further, through the currents of its arrays."""

from __future__ import annotations

import shlex
import sys
import time
from dataclasses import asdict
from pathlib import Path

import click

from norsim.backends.registry import backend_named
from norsim.commands.shared.device_option import device_of_options, device_option
from norsim.commands.shared.network_options import model_is_trusted, network_options
from norsim.commands.shared.options import (
    check_network,
    check_out,
    chip_of_options,
    chip_options,
    open_output,
    overwrite_option,
    print_json,
)
from norsim.commands.shared.progress import reporting
from norsim.data.arrays import same_source
from norsim.errors import ConfigurationError
from norsim.jobs.events import recording_events
from norsim.jobs.phases import Phases, step
from norsim.training.tuning import Tuning

USUAL = Tuning()


@click.command("finetune")
@network_options
@click.option("--steps", type=click.IntRange(min=1), default=USUAL.steps, show_default=True, help="Number of batches.")
@click.option(
    "--refresh",
    type=click.IntRange(min=1),
    default=USUAL.refresh,
    show_default=True,
    help="Program the tiles again, as another chip, after every N steps.",
)
@click.option("--batch-size", type=click.IntRange(min=1), default=USUAL.batch_size, show_default=True,
              help="Images per batch.")  # fmt: skip
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    default=USUAL.rate,
    show_default=True,
    help="Learning rate of the weights, in code steps.",
)
@click.option(
    "--distillation",
    type=click.FloatRange(0, 1),
    default=USUAL.distillation,
    show_default=True,
    help="Share of the loss that compares the outputs with those of the digital network.",
)
@chip_options
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of chips, batches and noise."
)
@click.option("-j", "--jobs", type=click.IntRange(min=1), help="Number of threads; the result depends on it.")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR",
    help="Folder of the tuned network; runs/finetune-DATE-TIME by default.",
)  # fmt: skip
@device_option
@overwrite_option
@click.option("--resume", is_flag=True, help="Continue from the checkpoint in DIR; the weights end up the same.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="Do not report progress.")
def command(
    network: str, dataset: str | None, data_folder: Path | None, steps: int, refresh: int, batch_size: int, rate: float,
    distillation: float, chip_name: str, encoding: str | None, settings: tuple[str, ...], seed: int, jobs: int | None,
    out: Path | None, resume: bool, as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Train a quantized network further, through the currents of its arrays, and write new weights of the same widths.

    The forward pass reads the tiles with macro; the backward pass is the gradient of their models. Pass the folder to
    --network of other commands.

    \b
    Examples:
      norsim finetune --network digits-cnn --chip etox65-stress --steps 40 --out runs/tuned
    """
    started = time.monotonic()
    if resume and out is None:
        raise ConfigurationError("--resume needs --out DIR, the folder of the interrupted run")
    check_out("finetune", out, resume)
    check_network(network)
    choice = chip_of_options(chip_name, encoding, settings, seed)

    phases = Phases()
    with reporting(quiet, phases) as bar, step(bar, "import"):
        import torch

        from norsim.experiments.experiment import open_experiment
        from norsim.quantization.forward import device_name
        from norsim.saved.network_folder import save_tuned

    device = device_of_options(backend_named("macro"))
    if jobs:
        torch.set_num_threads(jobs)
    with reporting(quiet, phases) as bar:
        one = open_experiment(
            network, choice, dataset, data_folder, seed=seed, trusted=model_is_trusted(), report=bar
        )  # fmt: skip
        card, chip = one.card, choice.chip
        train_set, test_set = one.data("train", bar), one.data("test", bar)
    if card["test_images"] < len(test_set):
        # Those that its card is about: an evaluation of a user's network may have been on the first ones only.
        test_set = test_set.take(card["test_images"], None)
    if len(test_set) != card["test_images"] or not same_source(card["data_source"], test_set.source):
        raise ConfigurationError(
            f"--data: {network} was trained on another copy of {card['dataset']}; give the folder of that copy"
        )
    tuning = {
        "steps": steps, "refresh": refresh, "batch_size": batch_size, "rate": rate, "distillation": distillation,
        "augmentation": card["recipe"]["augmentation"], "seed": seed,
    }  # fmt: skip
    output = open_output("finetune", out, resume)
    output.sweep()
    output.clear(lambda name: not resume)
    folder = output.path
    words = [word for word in sys.argv[1:] if word != "--resume"]
    with reporting(quiet, phases) as bar, recording_events(folder, phases):
        one.net.to(device).finetune(
            train_set, folder=output, resume=resume, progress=None if quiet else report, report=bar, **tuning
        )  # fmt: skip
        new = save_tuned(
            one.net.parts.deployment.quantized, card, test_set, folder, shlex.join(["norsim", *words]),
            {"chip": chip.name, **asdict(Tuning(**tuning))}, network, bar,
        )  # fmt: skip
    result = {
        "network": network, "chip": chip.name, "encoding": chip.encoding.name, "steps": steps,
        "accuracy_quantized_before": card["quantized_accuracy"], "accuracy_quantized": new["quantized_accuracy"],
        "device": device_name(device), "seed": seed, "seconds": time.monotonic() - started, "out": str(folder),
    }  # fmt: skip
    if as_json:
        print_json(result)
    else:
        click.echo(
            f"{network}, tuned on {chip.name}: digital accuracy {100 * new['quantized_accuracy']:.2f} %, before "
            f"{100 * card['quantized_accuracy']:.2f} %. Computed on {new['device']}. Saved in {folder}; "
            f"measure the accuracy on the array with norsim eval-network --network {folder.absolute()} "
            f"--chip {chip_name}"
        )


def report(done: int, steps: int, loss: float) -> None:
    """Print one line on stderr each time the tiles are programmed."""
    click.echo(f"step {done} of {steps}: loss {loss:.4f}", err=True)
