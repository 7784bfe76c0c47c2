"""`norsim sweep`: the accuracy over values of any keys of the chip, as a table and curves."""

from __future__ import annotations

import csv
import io
import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import yaml

from norsim.backends.registry import BACKENDS
from norsim.commands.shared import show
from norsim.commands.shared.complete import complete_key
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
from norsim.errors import ConfigurationError
from norsim.evaluation.estimate import estimate_evaluation
from norsim.experiments.experiment import evaluate_subject, subject
from norsim.files import write_text
from norsim.report.figures.sweep_curves import curves


@click.command("sweep")
@network_options
@click.option(
    "--vary",
    "varied",
    multiple=True,
    required=True,
    metavar="KEY=V1,V2,...",
    shell_complete=complete_key,
    help="Values of a key of the chip, with their units. Repeatable: all combinations are run.",
)
@click.option(
    "--trials", type=click.IntRange(min=1), default=1, show_default=True, help="Chips to evaluate at each point."
)
@click.option(
    "--split",
    type=click.Choice(["test", "train"]),
    default="test",
    show_default=True,
    help="Images to evaluate. To choose a chip take those of training: the test is of what was chosen.",
)
@click.option("--images", type=click.IntRange(min=1), help="First so many images; all by default.")
@click.option("--backend", type=click.Choice(list(BACKENDS)), default="macro", show_default=True)
@click.option(
    "--spice-sample",
    type=click.IntRange(min=0),
    default=4,
    show_default=True,
    help="Reads of each point that are solved again by ngspice, each alone.",
)
@chip_options
@resume_options
@scheduler_options
@run_options
def command(
    network: str, dataset: str | None, data_folder: Path | None, varied: tuple[str, ...], trials: int, split: str,
    images: int | None, backend: str, spice_sample: int, chip_name: str, encoding: str | None,
    settings: tuple[str, ...], seed: int, jobs: int, out: Path | None, as_json: bool, quiet: bool, verbose: bool,
) -> None:  # fmt: skip
    """Accuracy over values of one or more keys of the chip: results.csv, curves.svg, and best.yaml, the best chip.

    \b
    Examples:
      norsim sweep --network digits-cnn --vary adc.bits=4,5,6,8
      norsim sweep --network digits-cnn --trials 5 --vary "silicon.cell=0 mV,10 mV,20 mV"
    """
    started = time.monotonic()
    choice = choose_chip(chip_name, encoding, settings, seed)
    axes = [values_of(text) for text in varied]
    points = [tuple(point) for point in itertools.product(*axes)]
    # All points are checked before the first is run.
    choices = [choose_chip(chip_name, encoding, (*settings, *point), seed) for point in points]
    chosen = subject(network, choices[0].chip, dataset, data_folder, trusted=model_is_trusted())
    data = chosen.data(split)
    shown = data.take(images, None) if images else data
    known = chosen.float_predictions(data) if split == "test" else None
    known = None if known is None else known[: len(shown)]
    if is_dry_run():
        times = trials * len(points)
        taken = estimate_evaluation(
            chosen.model, images_tensor(shown), backend, calibration_images=choice.chip.calibration.images, jobs=jobs,
            spice_sample=spice_sample, copies=copies(), set_up_seconds=time.monotonic() - started, evaluations=times,
            passes=times, fits=times,
        )  # fmt: skip
        show_estimate(taken, as_json)
        return
    rows: list[dict[str, Any]] = []
    with reporting(quiet) as report, working(jobs) as workers:
        folder = open_run("sweep", out, choice, seed)
        for number, (point, one) in enumerate(zip(points, choices, strict=True)):
            report("points", number, len(points))
            found, _, chips = evaluate_subject(
                chosen, one.chip, shown, known, trials, backend, spice_sample=spice_sample, seed=seed, workers=workers,
                report=report, store=folder.units,
            )  # fmt: skip
            low, high = found.accuracy_ci95
            rows.append({
                **dict(setting.split("=", 1) for setting in point), "accuracy": found.accuracy, "low": low,
                "high": high, "sigma": chips.sigma if chips else None,
                "max_error_full_scale": found.verification.max_error_full_scale,
            })  # fmt: skip
            write_text(folder.path / "results.csv", table_of(rows))
    content = {
        "network": network, "dataset": shown.name, "images": len(shown), "backend": backend,
        "encoding": found.encoding, "split": split, "trials": trials,
        "keys": [text.split("=", 1)[0].strip() for text in varied],
        "accuracy_float": found.accuracy_float, "accuracy_quantized": found.accuracy_quantized, "points": rows,
        "layers": found.layers, "seed": seed, "seconds": time.monotonic() - started, "versions": found.versions,
    }  # fmt: skip
    write_text(folder.path / "curves.svg", curves(content))
    best = max(range(len(rows)), key=lambda number: float(rows[number]["accuracy"]))
    write_text(folder.path / "best.yaml", yaml.safe_dump(choices[best].content, sort_keys=False))
    folder.finish(content)
    if as_json:
        print_json({**content, "out": str(folder.path)})
    else:
        report_points(content, folder.path)


def values_of(text: str) -> list[str]:
    """`KEY=V1,V2` -> settings `KEY=V1`, `KEY=V2`."""
    key, equals, values = text.partition("=")
    found = [value.strip() for value in values.split(",")]
    if not equals or not all(found):
        raise ConfigurationError(f"--vary {text!r}: expected KEY=V1,V2,... for example adc.bits=4,6,8")
    if len(set(found)) < len(found):
        raise ConfigurationError(f"--vary {text!r}: a value is there twice")
    return [f"{key.strip()}={value}" for value in found]


def table_of(rows: Sequence[dict[str, Any]]) -> str:
    """results.csv: a row a point."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def report_points(content: dict[str, Any], path: Path) -> None:
    """The points for people, on stdout."""
    rows = [
        (
            *(str(row[key]) for key in content["keys"]), f"{100 * row['accuracy']:.2f} %",
            f"{100 * row['low']:.2f} to {100 * row['high']:.2f}",
            "" if row["sigma"] is None else f"{100 * row['sigma']:.2f}",
        )
        for row in content["points"]
    ]  # fmt: skip
    show.table(
        (*content["keys"], "accuracy", "95 % interval", "between chips, points"), rows,
        f"{content['network']} on {content['dataset']}, {content['images']} {content['split']} images, "
        f"{content['encoding']}, {content['trials']} chips a point",
    )  # fmt: skip
    show.say_path(
        f"Digital 4-bit network: {100 * content['accuracy_quantized']:.2f} %. {content['seconds']:.0f} s. "
        f"Run folder: {path}"
    )
