"""`norsim attribute`: how much accuracy each part of the array, or each layer, costs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from norsim.backends.registry import array_backends, backend_named
from norsim.commands.shared import show
from norsim.commands.shared.device_option import device_of_options, device_option
from norsim.commands.shared.network_options import model_is_trusted, network_options
from norsim.commands.shared.options import (
    check_network,
    check_out,
    chip_of_options,
    chip_options,
    is_dry_run,
    open_run,
    print_json,
    resume_options,
    run_options,
    scheduler_options,
    show_evaluation_cost,
    workers_for,
)
from norsim.commands.shared.progress import reporting
from norsim.experiments.factors import FACTORS, By, factors_of
from norsim.jobs.phases import Phases, step

if TYPE_CHECKING:
    from norsim.evaluation.attribution import Attribution, Loss, Nats


@click.command("attribute")
@network_options
@click.option("--by", type=click.Choice(list(get_args(By))), default="causes", show_default=True,
              help="What to attribute the loss to: causes, mitigations (cures) or layers.")  # fmt: skip
@click.option("--margin", type=click.FloatRange(min=0, min_open=True), default=1.0, show_default=True,
              metavar="POINTS", help="Largest remainder, in points, that counts as adding up.")  # fmt: skip
@click.option("--orders", type=click.IntRange(min=2), default=8, show_default=True,
              help="Random orders for the Shapley values of more than 5 parts; up to 5 take all orders.")  # fmt: skip
@click.option("--images", type=click.IntRange(min=1), help="Use only the first N test images; all by default.")
@click.option("--backend", type=click.Choice(array_backends()), default="macro", show_default=True,
              help="Solver that reads the tiles.")  # fmt: skip
@device_option
@chip_options
@resume_options
@scheduler_options
@run_options
def command(
    network: str, dataset: str | None, data_folder: Path | None, by: By, margin: float, orders: int,
    images: int | None, backend: str,
    chip_name: str, encoding: str | None, settings: tuple[str, ...],
    seed: int, jobs: int, out: Path | None, as_json: bool, quiet: bool, verbose: bool,
) -> None:  # fmt: skip
    """Measure the accuracy lost to each cause (cell, bitline, source line, converter) or layer, or recovered by each
    mitigation (`--by cures`): by each one alone, by adding it to all others, and as Shapley values, which add up to the
    total.

    A cause is removed by an ideal cell, lossless wires or a 24-bit converter. Losses are in percentage points relative
    to the digital quantized network, on the same images; a recovered loss is negative. The rise of the mean
    cross-entropy, in nats, shows effects that change no class. An equivalence test states whether the losses by each
    one alone add up to the total within --margin.

    \b
    Examples:
      norsim attribute --network digits-cnn
      norsim attribute --network digits-cnn --by layers --encoding linear-pair
      norsim attribute --network digits-cnn --by cures --chip etox65-stress
    """
    started = time.monotonic()
    check_out("attribute", out)
    check_network(network)
    choice = chip_of_options(chip_name, encoding, settings, seed)

    phases = Phases()
    with reporting(quiet, phases) as report, step(report, "import"):
        from norsim.evaluation.attribution import summary
        from norsim.evaluation.shapley import configurations
        from norsim.experiments.attribution import drawn_orders
        from norsim.experiments.experiment import open_experiment
        from norsim.quantization.forward import device_name

    device = device_of_options(backend_named(backend))
    with reporting(quiet, phases) as report:
        one = open_experiment(
            network, choice, dataset, data_folder, backend=backend, seed=seed, trusted=model_is_trusted(),
            report=report,
        )  # fmt: skip
        if is_dry_run():
            few, total = one.sample(images, report=report)
        else:
            shown, known = one.images(images, report=report)
    if is_dry_run():
        names = tuple(factors_of(by, choice.chip) if by in FACTORS else one.net.tiled)
        sets = configurations(names, drawn_orders(names, orders, seed))
        times = len(sets)
        # By layers, those on the array add up to whole networks, and one fit serves all of them.
        count, fits = (times, times) if by in FACTORS else (-(-sum(map(len, sets)) // len(names)), 1)
        show_evaluation_cost(
            one.net, few, total, started, jobs, as_json, spice_sample=None, evaluations=count, passes=times, fits=fits
        )
        return
    with reporting(quiet, phases) as report, workers_for(jobs) as workers:
        folder = open_run("attribute", out, choice, seed, phases, device_name(device))
        one.net.to(device)
        found = one.net.attribute(
            shown, by, margin=margin, orders=orders, workers=workers, report=report, store=folder.units,
            float_predictions=known,
        )  # fmt: skip
    content: dict[str, Any] = {
        "network": network, "dataset": shown.name, "images": found.images, "backend": backend,
        "encoding": choice.chip.encoding.name, "by": by, **summary(found), "device": device_name(device), "seed": seed,
        "seconds": time.monotonic() - started,
    }  # fmt: skip
    folder.finish(content)
    if as_json:
        print_json({**content, "out": str(folder.path)})
    else:
        report_losses(found, content, folder.path)


def report_losses(found: Attribution, content: dict[str, Any], path: Path) -> None:
    """Print the losses as two tables, and what they show."""
    part = {"causes": "cause", "cures": "mitigation", "layers": "layer"}[content["by"]]
    where = f"{content['network']} on {content['dataset']}, {found.images} test images, {content['encoding']}"
    rows = [("quantization", *_cells(found.quantization), "", "")] if found.quantization else []
    rows.append((f"all {part}s", *_cells(found.array), "", ""))
    rows.append((f"no {part}", *_cells(found.base), "", ""))
    rows += [(share.name, *_cells(share.alone), *_cells(share.without)) for share in found.shares]
    show.table(("", "alone", "95 % interval", "added last", "95 % interval"), rows, f"points lost, {where}")
    left, margin = found.remainder, f"the margin of ±{found.margin_points:g} points"
    says = {
        "adds up": f"adds up to the total within {margin}",
        "does not add up": f"does NOT add up to the total within {margin}",
        "inconclusive": f"may or may not add up to the total within {margin} (inconclusive: use more images)",
    }  # fmt: skip
    show.say(
        f"The sum of the losses by each one alone {says[found.verdict]}: the remainder is {left.points:.2f} points "
        f"({left.ci95[0]:.2f} to {left.ci95[1]:.2f})"
    )
    shared = [
        (f"all {part}s", f"{found.array.points:.2f}", "", *_nats(found.array_cross_entropy)),
        (f"no {part}", f"{found.base.points:.2f}", "", *_nats(found.base_cross_entropy)),
    ]
    shared += [(share.name, *_cells(share.shapley), *_nats(share.cross_entropy)) for share in found.shares]
    over = f"all {found.orders} orders" if found.exact else f"{found.orders} random orders"
    show.table(
        ("", "points", "95 % interval", "cross-entropy, nats", "95 % interval"), shared,
        f"shares that add up: Shapley values, mean over {over} of adding each {part}",
    )  # fmt: skip
    show.say(f"Computed on: {content['device']}")
    show.say_path(f"{content['seconds']:.0f} s. Run folder: {path}")


def _cells(loss: Loss) -> tuple[str, str]:
    return f"{loss.points:.2f}", f"{loss.ci95[0]:.2f} to {loss.ci95[1]:.2f}"


def _nats(rise: Nats) -> tuple[str, str]:
    return f"{rise.nats:.4f}", f"{rise.ci95[0]:.4f} to {rise.ci95[1]:.4f}"
