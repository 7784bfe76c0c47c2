"""`norsim attribute`: how much accuracy each part of the array, or each layer, costs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from norsim.backends.registry import array_backends
from norsim.commands.shared import show
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
from norsim.experiments.factors import FACTORS, By

if TYPE_CHECKING:
    from norsim.evaluation.attribution import Attribution, Loss


@click.command("attribute")
@network_options
@click.option("--by", type=click.Choice(list(get_args(By))), default="causes", show_default=True,
              help="What to attribute the loss to: causes, mitigations (cures) or layers.")  # fmt: skip
@click.option("--images", type=click.IntRange(min=1), help="Use only the first N test images; all by default.")
@click.option("--backend", type=click.Choice(array_backends()), default="macro", show_default=True,
              help="Solver that reads the tiles.")  # fmt: skip
@chip_options
@resume_options
@scheduler_options
@run_options
def command(
    network: str, dataset: str | None, data_folder: Path | None, by: By, images: int | None, backend: str,
    chip_name: str, encoding: str | None, settings: tuple[str, ...],
    seed: int, jobs: int, out: Path | None, as_json: bool, quiet: bool, verbose: bool,
) -> None:  # fmt: skip
    """Measure the accuracy lost to each cause (cell, bitline, source line, converter) or layer, or recovered by each
    mitigation (`--by cures`): by each one alone, and by adding it to all others.

    A cause is removed by an ideal cell, lossless wires or a 24-bit converter. Losses are in percentage points relative
    to the digital 4-bit network, on the same images; a recovered loss is negative.

    \b
    Examples:
      norsim attribute --network digits-cnn
      norsim attribute --network digits-cnn --by layers --encoding linear-pair
      norsim attribute --network digits-cnn --by cures --chip etox65-stress
    """
    started = time.monotonic()
    check_out(out)
    check_network(network)
    choice = chip_of_options(chip_name, encoding, settings, seed)

    from norsim.commands.shared.progress import reporting
    from norsim.evaluation.attribution import summary
    from norsim.experiments.experiment import open_experiment

    one = open_experiment(
        network, choice, dataset, data_folder, backend=backend, seed=seed, trusted=model_is_trusted()
    )  # fmt: skip
    shown, known = one.images(images)
    if is_dry_run():
        parts = len(FACTORS.get(by, one.net.tiled))
        # All, none, each alone and all but each. By layers, those on the array add up to parts + 1 whole networks, and
        # one fit serves all of them.
        times = 2 * parts + 2
        count, fits = (times, times) if by in FACTORS else (parts + 1, 1)
        show_evaluation_cost(
            one.net, shown, started, jobs, as_json, spice_sample=None, evaluations=count, passes=times, fits=fits
        )
        return
    with reporting(quiet) as report, workers_for(jobs) as workers:
        folder = open_run("attribute", out, choice, seed)
        found = one.net.attribute(
            shown, by, workers=workers, report=report, store=folder.units, float_predictions=known
        )
    content: dict[str, Any] = {
        "network": network, "dataset": shown.name, "images": found.images, "backend": backend,
        "encoding": choice.chip.encoding.name, "by": by, **summary(found), "seed": seed,
        "seconds": time.monotonic() - started,
    }  # fmt: skip
    folder.finish(content)
    if as_json:
        print_json({**content, "out": str(folder.path)})
    else:
        report_losses(found, content, folder.path)


def report_losses(found: Attribution, content: dict[str, Any], path: Path) -> None:
    """Print the losses as a table."""
    rows = []
    if found.quantization:
        rows.append(("quantization", *_cells(found.quantization), "", ""))
    part = {"causes": "cause", "cures": "mitigation", "layers": "layer"}[content["by"]]
    rows.append((f"all {part}s", *_cells(found.array), "", ""))
    rows.append((f"no {part}", *_cells(found.base), "", ""))
    rows += [(share.name, *_cells(share.alone), *_cells(share.without)) for share in found.shares]
    show.table(
        ("", "alone", "95 % interval", "added last", "95 % interval"), rows,
        f"points lost, {content['network']} on {content['dataset']}, {found.images} test images, "
        f"{content['encoding']}",
    )  # fmt: skip
    left, verdict = found.remainder, "adds up" if found.adds_up else "does NOT add up"
    show.say(
        f"The sum of the losses by each one alone {verdict} to the total, with a remainder of {left.points:.2f} points "
        f"({left.ci95[0]:.2f} to {left.ci95[1]:.2f})"
    )
    show.say_path(f"{content['seconds']:.0f} s. Run folder: {path}")


def _cells(loss: Loss) -> tuple[str, str]:
    return f"{loss.points:.2f}", f"{loss.ci95[0]:.2f} to {loss.ci95[1]:.2f}"
