"""`norsim bits`: propose the bits of each layer for a loss of accuracy or a converter energy."""

from __future__ import annotations

import csv
import io
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from norsim.commands.shared import show
from norsim.commands.shared.network_options import (
    check_normalised,
    float_source,
    network_options,
    own_network_options,
    transform_option,
)
from norsim.commands.shared.options import (
    check_network,
    check_out,
    chip_of_options,
    chip_options,
    open_run,
    print_json,
    resume_option,
    run_options,
)
from norsim.commands.shared.progress import reporting
from norsim.configuration.quantities import engineering
from norsim.errors import ConfigurationError
from norsim.files import write_text
from norsim.jobs.phases import Phases, step
from norsim.periphery.circuits.energy import step_in_words

if TYPE_CHECKING:
    from norsim.evaluation.attribution import Loss
    from norsim.evaluation.mixed_precision.proposal import Proposal

ASSUMPTIONS = (
    "networks are computed in integers, without an array; energy is that of the converters alone: conversions of all "
    "outputs, slices, passes and tiles of an image"
)


@click.command("bits")
@network_options
@own_network_options
@transform_option
@click.option(
    "--max-loss",
    type=click.FloatRange(0, 100),
    metavar="POINTS",
    help="Take the least converter energy that loses at most this, in percentage points, against 8 bits.",
)
@click.option(
    "--energy",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="SHARE",
    help="Lose least with at most this share of the converter energy of 8 bits, for example 0.7.",
)
@click.option(
    "--images",
    type=click.IntRange(min=1),
    default=4096,
    show_default=True,
    help="Training images that choose between assignments of bits.",
)
@click.option(
    "--verify-images",
    type=click.IntRange(min=1),
    default=8192,
    show_default=True,
    help="Other training images, at most, that verify the proposal.",
)
@chip_options
@resume_option
@run_options
def command(
    network: str | None, model: str | None, weights: Path | None,
    mean: tuple[float, ...] | None, std: tuple[float, ...] | None, digital: tuple[str, ...],
    dataset: str | None, data_folder: Path | None, transform: str | None, max_loss: float | None,
    energy: float | None, images: int, verify_images: int,
    chip_name: str, encoding: str | None, settings: tuple[str, ...],
    seed: int, jobs: int, out: Path | None, as_json: bool, quiet: bool, verbose: bool,
) -> None:  # fmt: skip
    """Propose the bits of each layer's weights and activations for a budget: the converter energy (--energy) or the
    loss of accuracy (--max-loss), both against the widest codes of all layers, which are 8 bits on most chips.

    The loss that narrower codes of each layer cause is measured on training images in integers, without an array. The
    layer that loses least per converter energy saved is narrowed first. Other training images verify the result, and
    compare it with the best assignment of the same bits to all layers. Pass the last line to --bits of eval-network.

    \b
    Examples:
      norsim bits --network resnet20 --data DIR --max-loss 0.3
      norsim bits --network resnet20 --data DIR --energy 0.4 --json
      norsim bits --model nets.py:make_net --weights w.safetensors --dataset digits --energy 0.5
    """
    started = time.monotonic()
    check_out("bits", out)
    if (max_loss is None) == (energy is None):
        raise ConfigurationError("give one budget: --max-loss POINTS or --energy SHARE")
    check_normalised(mean, std, quantizes=model is not None or weights is not None)
    if network is not None and weights is None:
        check_network(network)
    choice = chip_of_options(chip_name, encoding, settings, seed)

    phases = Phases()
    with reporting(quiet, phases) as report, step(report, "import"):
        import torch

        from norsim.evaluation.mixed_precision.proposal import Budget, propose, read_parts
        from norsim.saved.post_training import DataPlace, check_answers, check_layers, check_storable

    wanted = DataPlace(dataset, data_folder, transform)
    source, place = float_source(network, model, weights, mean, std, wanted)
    spec = source.spec()
    place = replace(place, name=place.name or spec.dataset)
    if not place.name:
        raise ConfigurationError(f"{source.network} has no data set: give --dataset NAME|DIR|FILE")
    with reporting(quiet, phases) as report:
        float_network = spec.build()
        check_storable(float_network, source.network, digital)
        float_network.load_state_dict(source.state(float_network))
        with step(report, "data train"):
            parts = read_parts(partial(place.load, "train"), images, verify_images, seed)
        check_answers(float_network, parts["calibrate"], source.network, digital)
        check_layers(float_network, parts["calibrate"], source.network, digital)
        folder = open_run("bits", out, choice, seed, phases)
        with torch.random.fork_rng(devices=[]):
            found = propose(
                float_network.eval(), parts, choice.chip, Budget(max_loss, energy), digital=digital, report=report,
                store=folder.units,
            )  # fmt: skip
    content: dict[str, Any] = {
        "network": network or str(model), "dataset": parts["calibrate"].name, "chip": choice.chip.name,
        "encoding": choice.chip.encoding.name, "max_loss_points": max_loss, "energy": energy, **summary(found),
        "adc_step_joules": choice.chip.costs.joules_per_step, "seed": seed, "seconds": time.monotonic() - started,
    }  # fmt: skip
    write_text(folder.path / "sensitivities.csv", table_of_sensitivities(found))
    folder.finish(content)
    if as_json:
        print_json({**content, "out": str(folder.path)})
    else:
        report_proposal(content, folder.path)


def summary(found: Proposal) -> dict[str, Any]:
    """Return the JSON content of a proposal."""
    from norsim.evaluation.mixed_precision.proposal import text_of

    proposed, uniform = found.proposed, found.uniform
    layers = [
        {
            "name": name, "weight_bits": bits.weights, "activation_bits": bits.activations,
            "converters_joules_image": choices.energy(bits),
            "converters_joules_image_widest": choices.energy(choices.widest),
            "loss_nats": found.sensitivities[name].loss(bits),
        }
        for name, choices in found.choices.items()
        for bits in [proposed.bits[name]]
    ]  # fmt: skip
    return {
        "bits": text_of(proposed.bits), "bits_widest": text_of({n: c.widest for n, c in found.choices.items()}),
        "converters_joules_image": proposed.share * found.joules, "converters_joules_image_widest": found.joules,
        "converter_energy": proposed.share, "accuracy_proposed": proposed.accuracy, "loss": _points(proposed.loss),
        "accuracy_widest": found.accuracy_widest, "accuracy_float": found.accuracy_float,
        "uniform": None if uniform is None else {
            "bits": text_of(uniform.bits), "converter_energy": uniform.share, "accuracy": uniform.accuracy,
            "loss": _points(uniform.loss), "proposed_better_by": _gained(found.against_uniform),
        },
        "layers": layers, "images": dict(found.images), "assumptions": ASSUMPTIONS,
    }  # fmt: skip


def _points(loss: Loss | None) -> dict[str, Any] | None:
    return None if loss is None else {"points": loss.points, "ci95": list(loss.ci95)}


def _gained(loss: Loss | None) -> dict[str, Any] | None:
    return None if loss is None else {"points": 0 - loss.points, "ci95": [-end for end in reversed(loss.ci95)]}


def table_of_sensitivities(found: Proposal) -> str:
    """Return sensitivities.csv: the loss in nats of each layer by the width of its weights or activations."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["layer", "codes", "bits", "nats"])
    for name, own in found.sensitivities.items():
        for kind, losses in (("weights", own.weights), ("activations", own.activations)):
            writer.writerows([name, kind, bits, f"{nats:.6g}"] for bits, nats in losses.items())
    return text.getvalue()


def report_proposal(content: dict[str, Any], path: Path) -> None:
    """Print the proposal as a table and sentences."""
    whole = content["converters_joules_image_widest"]
    rows = [
        (
            row["name"], f"{row['weight_bits']}/{row['activation_bits']}", f"{row['loss_nats']:.5f}",
            f"{100 * row['converters_joules_image_widest'] / whole:.1f} %",
            f"{100 * row['converters_joules_image'] / whole:.1f} %",
        )
        for row in content["layers"]
    ]  # fmt: skip
    title = f"{content['network']} on {content['dataset']}, {content['chip']}, {content['encoding']}"
    show.table(("layer", "bits", "loss alone, nats", "energy before", "energy"), rows, title)
    before = content["bits_widest"]
    show.say(
        f"Converter energy per image: {engineering(content['converters_joules_image'], 'J')}, "
        f"{100 * content['converter_energy']:.1f} % of that of {before} bits, at "
        f"{step_in_words(content['adc_step_joules'])}"
    )
    show.say(
        f"Accuracy on {content['images']['verify']} other training images, in integers: "
        f"{100 * content['accuracy_proposed']:.2f} %, with {before} bits {100 * content['accuracy_widest']:.2f} %, "
        f"float {100 * content['accuracy_float']:.2f} %. Lost against {before} bits: {_in_words(content['loss'])}"
    )
    budget = content["max_loss_points"]
    if budget is not None and content["loss"]["points"] > budget:
        show.say(
            f"That is more than --max-loss {budget:g}, which held on the images that chose: give more --images, or a "
            "lower --max-loss"
        )
    uniform = content["uniform"]
    if uniform is not None:
        show.say(
            f"The same bits for all layers, at most as much energy: {uniform['bits']} at "
            f"{100 * uniform['converter_energy']:.1f} % has {100 * uniform['accuracy']:.2f} %. The proposal is better "
            f"by {_in_words(uniform['proposed_better_by'])}"
        )
    show.say_path(f"{content['seconds']:.0f} s. Run folder: {path}")
    click.echo(f"--bits '{content['bits']}'")


def _in_words(loss: dict[str, Any]) -> str:
    low, high = loss["ci95"]
    return f"{loss['points']:.2f} points (95 % interval {low:.2f} to {high:.2f})"
