"""`norsim attribute`: which part of the array, and which layer, costs how much accuracy."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import click
from torch import nn

from norsim.backends import BACKENDS
from norsim.chip import Chip
from norsim.commands import show
from norsim.commands.network_options import model_is_trusted, network_options
from norsim.commands.options import (
    ChipChoice,
    cell_is_trusted,
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
from norsim.commands.progress import reporting
from norsim.commands.setup import Subject, subject
from norsim.config import apply_settings, build_chip
from norsim.network.attribute import Attribution, Loss, attribute, classify, summary
from norsim.network.batch import Predictions
from norsim.network.estimate import estimate_evaluation
from norsim.network.evaluate import images_tensor
from norsim.network.layers import calibrate, convert, tiled_layers
from norsim.network.reader import Reader
from norsim.network.store import load_network


@dataclass(frozen=True)
class Factor:
    """A part of the chip that can be switched: settings of a chip file with it and without it, `{wires}` standing for
    the encoding's wires."""

    without: tuple[str, ...]
    with_it: tuple[str, ...] = ()


LINEAR = (
    "cell.netlist=linear.sp", "cell.models=[]", "cell.subcircuit=linear", "cell.state=vt", "cell.model=null",
    "cell.pins=[drain, gate, source, bulk]", "cell.state_erased=null", "cell.state_programmed=null",
    "cell.programmed_as=null", "cell.instance={{}}", "cell.params={{}}", "cell.options={{}}", "cell.compatibility=''",
    "cell.osdi=[]",
)  # fmt: skip
FACTORS = {
    "causes": {
        "cell": Factor(LINEAR),
        "bitline": Factor(("{wires}.bitline=0 ohm", "{wires}.bitline_end=0 ohm")),
        "source line": Factor(("{wires}.source_line=0 ohm", "{wires}.source_line_end=0 ohm")),
        "converter": Factor(("adc.bits=24",)),
    },
    "cures": {
        "column fit": Factor(("calibration.column_fit=false",), ("calibration.column_fit=true",)),
        "programming in place": Factor(("silicon.in_situ=false",), ("silicon.in_situ=true",)),
        "row order": Factor(("tile.row_order=false",), ("tile.row_order=true",)),
    },
}


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
    chosen = subject(network, choice.chip, dataset, data_folder)
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


Names = tuple[str, ...]
NetworkWith = Callable[[frozenset[str]], nn.Module]


def by_factors(
    chosen: Subject, choice: ChipChoice, fit: Callable[[nn.Module], None], factors: Mapping[str, Factor]
) -> tuple[Names, NetworkWith]:
    """The factors, and what gives the network on a chip with some of them alone, fitted."""
    network, _ = load_network(chosen.name, model_is_trusted())

    def network_with(on: frozenset[str]) -> nn.Module:
        analog = convert(network, chip_with(choice, on, factors))
        fit(analog)
        return analog

    return tuple(factors), network_with


def by_layers(chosen: Subject, choice: ChipChoice, fit: Callable[[nn.Module], None]) -> tuple[Names, NetworkWith]:
    """The layers, and what gives the network with some of them on the array; the fit of each is its own."""
    fit(chosen.model)
    layers = tiled_layers(chosen.model)

    def network_with(on: frozenset[str]) -> nn.Module:
        for name, layer in layers.items():
            layer.fixed_backend = None if name in on else "ideal"
        return chosen.model

    return tuple(layers), network_with


def chip_with(choice: ChipChoice, on: frozenset[str], factors: Mapping[str, Factor]) -> Chip:
    """The chip with those factors `on`, and without the others."""
    wires = f"{choice.content['encoding'].replace('-', '_')}.wires"
    settings = [
        text.format(wires=wires)
        for name, factor in factors.items()
        for text in (factor.with_it if name in on else factor.without)
    ]
    chip = build_chip(apply_settings(choice.content, tuple(settings)), choice.path, cell_is_trusted())
    return replace(chip, draw=choice.chip.draw)


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
