"""`norsim train`: float, then quantized; writes the trained network to DIR as a card and packed weights."""

from __future__ import annotations

import shlex
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from norsim.commands.shared.complete import complete_definition
from norsim.commands.shared.device_option import device_of_options, device_option
from norsim.commands.shared.network_options import bits_option
from norsim.commands.shared.options import check_out, open_output, overwrite_option, print_json, show_estimate
from norsim.commands.shared.progress import reporting
from norsim.configuration.strict_yaml import parse_yaml
from norsim.errors import ConfigurationError, suggestion
from norsim.jobs.events import recording_events
from norsim.jobs.phases import Phases, step
from norsim.training.recipes import RECIPES, Recipe
from norsim.zoo.widths import WIDEST

if TYPE_CHECKING:
    from torch import Tensor

    from norsim.training.train import EpochRecord


@click.command("train")
@click.option(
    "--network", required=True, shell_complete=complete_definition, help="A network definition that comes with norsim."
)
@click.option(
    "--width",
    type=click.FloatRange(min=0, max=WIDEST, min_open=True),
    default=1.0,
    show_default=True,
    help="Factor for the network's numbers of channels; each is rounded to a multiple of 4.",
)
@click.option(
    "--data",
    "data_folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of the data set; needed unless it comes with norsim.",
)
@click.option(
    "--start",
    "starts",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    metavar="FILE",
    help="Float weights to start from, instead of random ones: a safetensors state dict, such as float.safetensors. "
    "Repeatable: the weights are averaged; after one epoch at a low rate, the average is often better than each.",
)
@click.option(
    "--recipe",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a field of the network's training recipe, for example float_epochs=5. Repeatable.",
)
@bits_option
@click.option("--seed", type=click.IntRange(min=0), help="Seed of weights, batches and augmentation.")
@click.option("-j", "--jobs", type=click.IntRange(min=1), help="Number of threads; the result depends on it.")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Run folder; runs/train-DATE-TIME by default."
)
@device_option
@overwrite_option
@click.option("--resume", is_flag=True, help="Continue from the checkpoint in DIR; the weights end up the same.")
@click.option("--dry-run", is_flag=True, help="Only estimate the cost of the training, measured on a few batches.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="Do not report progress.")  # fmt: skip
def command(
    network: str, width: float, data_folder: Path | None, starts: tuple[Path, ...], settings: tuple[str, ...],
    bits: str | None, seed: int | None, jobs: int | None, out: Path | None, resume: bool, dry_run: bool, as_json: bool,
    quiet: bool,
) -> None:  # fmt: skip
    """Train a network in float, then with quantized weights and activations, of 4 bits unless --bits says otherwise.

    \b
    Examples:
      norsim train --network digits-cnn --out runs/digits-cnn
      norsim train --network vgg16 --width 0.25 --data DIR
      norsim train --network digits-cnn --bits 'conv1=8/8,*=4/4'
      norsim train --network resnet18 --data DIR --device cuda
    """
    if resume and out is None:
        raise ConfigurationError("--resume needs --out DIR, the folder of the interrupted run")
    if not dry_run:
        check_out("train", out, resume)
    if network not in RECIPES:
        raise ConfigurationError(f"no network is called {network!r}; {suggestion(network, RECIPES)}")
    recipe = change_recipe(RECIPES[network], settings)
    recipe = recipe if seed is None else replace(recipe, seed=seed)
    recipe = recipe if bits is None else replace(recipe, bits=bits)

    phases = Phases()
    with reporting(quiet, phases) as bar, step(bar, "import"):
        import torch

        from norsim.data import load_images
        from norsim.quantization.forward import device_name
        from norsim.saved.float_weights import load_float
        from norsim.saved.network_folder import label_of_card, save_network
        from norsim.training.estimate import estimate_training
        from norsim.training.train import train
        from norsim.zoo.registry import spec_of

    device = device_of_options(None)
    spec = spec_of(network, width)
    torch.set_num_threads(jobs or torch.get_num_threads())
    weights = mean_of([load_float(path, spec.build()) for path in starts]) if starts else None
    with reporting(quiet, phases) as bar:
        with step(bar, "data train"):
            train_set = load_images(spec.dataset, "train", data_folder)
        with step(bar, "data test"):
            test_set = load_images(spec.dataset, "test", data_folder)
    if dry_run:
        show_estimate(estimate_training(spec, train_set, test_set, recipe, device), as_json)
        return
    output = open_output("train", out, resume)
    output.sweep()
    output.clear(lambda name: not resume)
    folder = output.path
    with reporting(quiet, phases) as bar, recording_events(folder, phases):
        finished = train(
            spec, train_set, test_set, recipe, folder, resume, None if quiet else report, weights, bar, device
        )  # fmt: skip
        card = save_network(finished, folder, command_line(jobs, torch.get_num_threads(), device.type), bar)
    result = {
        "network": network,
        "width": width,
        "dataset": spec.dataset,
        "bits": recipe.bits,
        "accuracy_float": card["float_accuracy"],
        "accuracy_quantized": card["quantized_accuracy"],
        "size_ratio": card["size_ratio"],
        "device": device_name(device),
        "seed": recipe.seed,
        "out": str(folder),
    }
    if as_json:
        print_json(result)
    else:
        click.echo(f"{network}: float {100 * card['float_accuracy']:.2f} %, "
                   f"{label_of_card(card)} {100 * card['quantized_accuracy']:.2f} % "
                   f"at 1/{card['size_ratio']:.2f} of the size. Computed on {card['device']}. "
                   f"Saved in {folder}")  # fmt: skip


def mean_of(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of state dicts of one network, entry by entry, each of any shape (Izmailov et al. 2018).

    Counters are taken from the first.
    """
    import torch

    first = states[0]
    return {
        key: torch.stack([state[key] for state in states]).mean(dim=0) if value.is_floating_point() else value
        for key, value in first.items()
    }


def report(record: EpochRecord) -> None:
    """Print one line on stderr per epoch."""
    click.echo(
        f"{record.phase} epoch {record.epoch}: loss {record.train_loss:.4f}, "
        f"test accuracy {100 * record.test_accuracy:.2f} %, {record.seconds:.1f} s",
        err=True,
    )


def change_recipe(recipe: Recipe, settings: tuple[str, ...]) -> Recipe:
    """Return the recipe with each `key=value` applied. Raises ConfigurationError for an unknown key or a wrong type."""
    kinds = {field.name: type(getattr(recipe, field.name)) for field in fields(recipe)}
    given: set[str] = set()
    for setting in settings:
        key, equals, text = setting.partition("=")
        if key in given:
            raise ConfigurationError(f"--recipe {setting!r}: {key} is given twice; give it once")
        given.add(key)
        if key not in kinds or not equals:
            raise ConfigurationError(f"--recipe {setting!r}: expected key=value with one of {', '.join(kinds)}")
        try:
            value: Any = parse_yaml(text, key)
        except ConfigurationError as problem:
            raise ConfigurationError(f"--recipe {setting!r}: {problem}") from None
        if kinds[key] is str and type(value) in (int, float):
            # The bits 8, and the percentile 99.9.
            value = text
        if type(value) is not kinds[key] and not (kinds[key] is float and type(value) is int):
            raise ConfigurationError(f"--recipe {setting!r}: expected a {kinds[key].__name__} for {key}")
        recipe = replace(recipe, **{key: kinds[key](value)})
    return recipe


def command_line(jobs: int | None, count: int, device: str) -> str:
    """Return the command line that repeats this training with the same number of threads, `count`, on that device."""
    arguments = [word for word in sys.argv[1:] if word not in ("--resume", "--overwrite")]
    threads = [] if jobs else ["--jobs", str(count)]
    where = [] if any(word.startswith("--device") for word in arguments) else ["--device", device]
    return shlex.join(["norsim", *arguments, *threads, *where])
