"""`norsim attribute`: which part of the array, and which layer, costs how much accuracy."""

from __future__ import annotations

import itertools
import time
from functools import partial
from pathlib import Path
from typing import Any

import click

from norsim.backends.registry import BACKENDS
from norsim.commands.shared import show
from norsim.commands.shared.network_options import model_is_trusted, network_options
from norsim.commands.shared.options import (
    chip_options,
    choose_chip,
    copies,
    is_dry_run,
    open_run,
    print_json,
    resume_options,
    run_options,
    scheduler_options,
    show_estimate,
    working,
)
from norsim.commands.shared.progress import reporting
from norsim.data.tensors import images_tensor
from norsim.evaluation.attribution import Attribution, Loss, attribute, classify, summary
from norsim.evaluation.batches import Predictions
from norsim.evaluation.estimate import estimate_evaluation
from norsim.experiments.experiment import subject
from norsim.experiments.factors import FACTORS, by_factors, by_layers
from norsim.tiling.calibrate import calibrate
from norsim.tiling.modules import tiled_layers
from norsim.tiling.reader import Reader


@click.command("attribute")
@network_options
@click.option("--by", type=click.Choice([*FACTORS, "layers"]), default="causes", show_default=True)
@click.option("--images", type=click.IntRange(min=1), help="First so many test images; all by default.")
@click.option("--backend", type=click.Choice(list(BACKENDS)), default="macro", show_default=True)
@chip_options
@resume_options
@scheduler_options
@run_options
def command(
    network: str, dataset: str | None, data_folder: Path | None, by: str, images: int | None, backend: str,
    chip_name: str, encoding: str | None, settings: tuple[str, ...],
    seed: int, jobs: int, out: Path | None, as_json: bool, quiet: bool, verbose: bool,
) -> None:  # fmt: skip
    """Accuracy lost to each cause (cell, bitline, source line, converter) or layer, or regained by each cure: each
    alone, and all but it.

    A cause is taken out by an ideal cell, wires without loss or a converter of 24 bits. Losses are in
    percentage points against the digital 4-bit network, on the same images; what a cure regains is a loss below zero.

    \b
    Examples:
      norsim attribute --network digits-cnn
      norsim attribute --network digits-cnn --by layers --encoding linear-pair
      norsim attribute --network digits-cnn --by cures --chip etox65-stress
    """
    started = time.monotonic()
    choice = choose_chip(chip_name, encoding, settings, seed)
    chosen = subject(network, choice.chip, dataset, data_folder, trusted=model_is_trusted())
    test = chosen.data("test")
    shown = test.take(images, None) if images else test
    known = chosen.float_predictions(test)
    if is_dry_run():
        parts = len(FACTORS.get(by, tiled_layers(chosen.model)))
        # All, none, each alone and all but each; by layers, those on the array add up to one and more network.
        times = 2 * parts + 2
        count, fits = (times, times) if by in FACTORS else (parts + 1, 1)
        taken = estimate_evaluation(
            chosen.model, images_tensor(shown), backend, calibration_images=choice.chip.calibration.images, jobs=jobs,
            spice_sample=None, copies=copies(), set_up_seconds=time.monotonic() - started, evaluations=count,
            passes=times, fits=fits,
        )  # fmt: skip
        show_estimate(taken, as_json)
        return
    images_to_fit = chosen.calibration_images(choice.chip.calibration.images, seed)
    with reporting(quiet) as report, working(jobs) as workers:
        folder = open_run("attribute", out, choice, seed)
        reader = Reader(backend, workers, store=folder.units)
        fit = partial(calibrate, images=images_to_fit, backend=backend, seed=seed, workers=workers, store=folder.units)
        names, network_with = (
            by_factors(chosen, choice, fit, FACTORS[by]) if by in FACTORS else by_layers(chosen, choice, fit)
        )
        done = itertools.count(1)

        def answer(on: frozenset[str]) -> Predictions:
            found = classify(network_with(on), shown, reader)
            report("classify", next(done), 2 * len(names) + 2)
            return found

        found = attribute(
            names, answer, classify(chosen.model, shown, Reader("ideal")),
            None if known is None else known[: len(shown)], shown.labels,
        )  # fmt: skip
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
    """The losses for people, on stdout."""
    rows = []
    if found.quantization:
        rows.append(("quantization", *_cells(found.quantization), "", ""))
    everything, nothing = ("all cures", "none") if content["by"] == "cures" else ("the whole array", "nothing of it")
    rows.append((everything, *_cells(found.array), "", ""))
    rows.append((nothing, *_cells(found.base), "", ""))
    rows += [(share.name, *_cells(share.alone), *_cells(share.without)) for share in found.shares]
    show.table(
        ("", "alone", "95 % interval", "all but it, less", "95 % interval"), rows,
        f"points lost, {content['network']} on {content['dataset']}, {found.images} test images, "
        f"{content['encoding']}",
    )  # fmt: skip
    left, verdict = found.remainder, "which is" if found.adds_up else "which is NOT"
    show.say(
        f"Each alone adds up to the whole but for {left.points:.2f} points ({left.ci95[0]:.2f} to {left.ci95[1]:.2f}), "
        f"{verdict} within chance"
    )
    show.say_path(f"{content['seconds']:.0f} s. Run folder: {path}")


def _cells(loss: Loss) -> tuple[str, str]:
    return f"{loss.points:.2f}", f"{loss.ci95[0]:.2f} to {loss.ci95[1]:.2f}"
