"""`norsim attribute`: which part of the array, and which layer, costs how much accuracy."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from norsim.backends import BACKENDS
from norsim.chip import Chip
from norsim.commands.eval_network import fit
from norsim.commands.options import ChipChoice, chip_options, choose_chip, network_options, print_json, run_options
from norsim.commands.progress import Report, reporting
from norsim.commands.setup import Subject, subject
from norsim.config import apply_settings, build_chip
from norsim.data import Dataset
from norsim.network.attribute import Attribution, Loss, attribute, classify, summary
from norsim.network.evaluate import Predictions
from norsim.network.layers import tiled_layers
from norsim.runs import RunFolder, default_folder

# What takes each cause out of a chip: settings of a chip file, `{wires}` standing for the encoding's wires.
CAUSES = {
    "cell": ("cell.netlist=linear.sp", "cell.models=[]", "cell.subcircuit=linear", "cell.state=vt"),
    "bitline": ("{wires}.bitline=0 ohm", "{wires}.bitline_end=0 ohm"),
    "source line": ("{wires}.source_line=0 ohm", "{wires}.source_line_end=0 ohm"),
    "converter": ("adc.bits=24",),
}


@click.command("attribute")
@network_options
@click.option("--by", type=click.Choice(["causes", "layers"]), default="causes", show_default=True)
@click.option("--images", type=click.IntRange(min=1), help="First so many test images; all by default.")
@click.option("--backend", type=click.Choice(list(BACKENDS)), default="macro", show_default=True)
@chip_options
@run_options
def command(
    network: str, dataset: str | None, data_folder: Path | None, by: str, images: int | None, backend: str,
    chip_name: str, encoding: str | None, settings: tuple[str, ...],
    seed: int, jobs: int, out: Path | None, as_json: bool, quiet: bool, verbose: bool,
) -> None:  # fmt: skip
    """Accuracy lost to each cause (cell, bitline, source line, converter) or layer: alone, and all but it.

    A cause is taken out by an ideal cell, wires without loss or a converter of 24 bits. Losses are in
    percentage points against the digital 4-bit network, on the same images.

    \b
    Examples:  norsim attribute --network digits-cnn
               norsim attribute --network digits-cnn --by layers --encoding linear-pair
    """
    started = time.monotonic()
    choice = choose_chip(chip_name, encoding, settings)
    chosen = subject(network, choice.chip, dataset, data_folder)
    test = chosen.data("test")
    shown = test.take(images, None) if images else test
    known = chosen.float_predictions(test)
    folder = RunFolder(out or default_folder("attribute"), choice.content, choice.path, seed)
    with reporting(quiet) as report:
        names, answer = (
            _by_causes(chosen, choice, shown, backend, jobs, seed, report)
            if by == "causes"
            else _by_layers(chosen, choice.chip, shown, backend, jobs, seed, report)
        )
        found = attribute(
            names, answer, classify(chosen.model, shown, "ideal"), None if known is None else known[: len(shown)],
            shown.labels,
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
        show(found, content, folder.path)


class _Answers:
    """Classifies the images with some things switched on, and counts for the progress."""

    def __init__(self, of: Any, names: tuple[str, ...], report: Report) -> None:
        self.of, self.names, self.report, self.done = of, names, report, 0

    def __call__(self, on: frozenset[str]) -> Predictions:
        found: Predictions = self.of(on)
        self.done += 1
        self.report("classify", self.done, 2 * len(self.names) + 2)
        return found


def _by_causes(
    chosen: Subject, choice: ChipChoice, shown: Dataset, backend: str, jobs: int, seed: int, report: Report
) -> tuple[tuple[str, ...], _Answers]:
    def of(on: frozenset[str]) -> Predictions:
        part = subject(chosen.name, chip_with(choice, on), chosen.dataset, chosen.data_folder)
        fit(part, choice.chip.calibration.images, backend, jobs, seed, report)
        return classify(part.model, shown, backend, jobs)

    return tuple(CAUSES), _Answers(of, tuple(CAUSES), report)


def _by_layers(
    chosen: Subject, chip: Chip, shown: Dataset, backend: str, jobs: int, seed: int, report: Report
) -> tuple[tuple[str, ...], _Answers]:
    fit(chosen, chip.calibration.images, backend, jobs, seed, report)
    layers = tiled_layers(chosen.model)

    def of(on: frozenset[str]) -> Predictions:
        for name, layer in layers.items():
            layer.fixed_backend = None if name in on else "ideal"
        return classify(chosen.model, shown, backend, jobs)

    return tuple(layers), _Answers(of, tuple(layers), report)


def chip_with(choice: ChipChoice, on: frozenset[str]) -> Chip:
    """The chip with all causes but `on` taken out."""
    wires = f"{choice.content['encoding'].replace('-', '_')}.wires"
    settings = [text.format(wires=wires) for cause, texts in CAUSES.items() if cause not in on for text in texts]
    return build_chip(apply_settings(choice.content, tuple(settings)), choice.path)


def show(found: Attribution, content: dict[str, Any], path: Path) -> None:
    """The losses for people, on stdout."""
    console = Console()
    table = Table(
        title=f"points lost, {content['network']} on {content['dataset']}, {found.images} test images, "
        f"{content['encoding']}"
    )
    for heading in ("", "alone", "95 % interval", "all but it, less", "95 % interval"):
        table.add_column(heading, justify="right" if heading else "left")
    if found.quantization:
        table.add_row("quantization", *_cells(found.quantization), "", "")
    table.add_row("the whole array", *_cells(found.array), "", "")
    table.add_row("nothing of it", *_cells(found.base), "", "")
    for share in found.shares:
        table.add_row(share.name, *_cells(share.alone), *_cells(share.without))
    console.print(table)
    verdict = "within" if found.adds_up else "NOT within"
    console.print(
        f"Each alone adds up to the whole but for {found.remainder:.2f} points, {verdict} the interval of the whole"
    )
    console.print(f"{content['seconds']:.0f} s. Run folder: {path}", soft_wrap=True)


def _cells(loss: Loss) -> tuple[str, str]:
    return f"{loss.points:.2f}", f"{loss.ci95[0]:.2f} to {loss.ci95[1]:.2f}"
