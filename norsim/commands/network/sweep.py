"""`norsim sweep`: the accuracy over values of any chip keys, as a table and curves."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from norsim.backends.registry import array_backends, backend_named
from norsim.commands.shared import show
from norsim.commands.shared.complete import complete_key
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
from norsim.configuration.strict_yaml import yaml_text
from norsim.errors import ConfigurationError
from norsim.files import write_text
from norsim.jobs.phases import Phases, step


@click.command("sweep")
@network_options
@click.option(
    "--vary",
    "varied",
    multiple=True,
    required=True,
    metavar="KEY=V1,V2,...",
    shell_complete=complete_key,
    help="Values of a chip key, with their units. Repeatable: all combinations are run.",
)
@click.option(
    "--trials",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Number of chips to evaluate at each point.",
)
@click.option(
    "--split",
    type=click.Choice(["test", "train"]),
    default="test",
    show_default=True,
    help="Images to evaluate. Use training images to choose a chip, and test images to judge the chosen one.",
)
@click.option("--images", type=click.IntRange(min=1), help="Use only the first N images; all by default.")
@click.option(
    "--backend",
    type=click.Choice(array_backends()),
    default="macro",
    show_default=True,
    help="Solver that reads the tiles.",
)
@click.option(
    "--spice-sample",
    type=click.IntRange(min=0),
    default=4,
    show_default=True,
    help="Number of reads at each point, drawn at random from all reads, that ngspice solves again.",
)
@device_option
@chip_options
@resume_options
@scheduler_options
@run_options
def command(
    network: str, dataset: str | None, data_folder: Path | None, varied: tuple[str, ...], trials: int, split: str,
    images: int | None, backend: str, spice_sample: int, chip_name: str, encoding: str | None,
    settings: tuple[str, ...], seed: int, jobs: int, out: Path | None, as_json: bool, quiet: bool, verbose: bool,
) -> None:  # fmt: skip
    """Measure the accuracy over values of one or more chip keys; write results.csv, curves.svg, and the best chip to
    best.yaml.

    A sweep over silicon.time or silicon.reads uses converters fitted just after programming, as a chip in the field
    would; --set calibration.fresh=false fits them again at each point.

    \b
    Examples:
      norsim sweep --network digits-cnn --vary adc.bits=4,5,6,8
      norsim sweep --network digits-cnn --trials 5 --vary "silicon.drift_cell=0 mV,10 mV,20 mV"
    """
    started = time.monotonic()
    check_out("sweep", out)
    check_network(network)
    choice = chip_of_options(chip_name, encoding, settings, seed)
    vary = dict(map(values_of, varied))
    if len(vary) < len(varied):
        raise ConfigurationError(f"--vary: a key occurs twice in {', '.join(map(repr, varied))}; give each key once")

    phases = Phases()
    with reporting(quiet, phases) as report, step(report, "import"):
        from norsim.experiments.experiment import open_experiment
        from norsim.experiments.sweep import SweepPoint, designs
        from norsim.quantization.forward import device_name
        from norsim.report.figures.sweep_curves import curves

    device = device_of_options(backend_named(backend))
    with reporting(quiet, phases) as report:
        one = open_experiment(
            network, choice, dataset, data_folder, backend=backend, seed=seed, trusted=model_is_trusted(),
            report=report,
        )  # fmt: skip
    # All points are checked before the first is run.
    try:
        chips = [design.choice for _, design in designs(one.net.parts.deployment, vary)]
    except ConfigurationError as problem:
        raise type(problem)(f"--vary: {problem}") from None
    with reporting(quiet, phases) as report:
        if is_dry_run():
            few, total = one.sample(images, split, report)
        else:
            shown, known = one.images(images, split, report)
    if is_dry_run():
        times = trials * len(chips)
        show_evaluation_cost(
            one.net, few, total, started, jobs, as_json, spice_sample=spice_sample, each_pass=False, evaluations=times,
            passes=times, fits=times,
        )  # fmt: skip
        return
    rows: list[dict[str, Any]] = []
    with reporting(quiet, phases) as report, workers_for(jobs) as workers:
        folder = open_run("sweep", out, choice, seed, phases, device_name(device))
        one.net.to(device)

        def write(point: SweepPoint) -> None:
            rows.append(row_of(point.values, point))
            write_text(folder.path / "results.csv", table_of(rows))

        found = one.net.sweep(
            shown, vary, trials, spice_sample=spice_sample, workers=workers, report=report, store=folder.units,
            float_predictions=known, done=write,
        )  # fmt: skip
    last = found.last
    content = {
        "network": network, "dataset": shown.name, "images": len(shown), "backend": backend,
        "encoding": last.encoding, "split": split, "trials": trials, "keys": list(found.keys),
        "fitted_fresh": found.fitted_fresh,
        "accuracy_float": last.accuracy_float, "accuracy_quantized": last.accuracy_quantized, "points": rows,
        "worst": dict(found.worst.values),
        "layers": last.layers, "device": last.device, "seed": seed,
        "seconds": time.monotonic() - started, "versions": last.versions,
    }  # fmt: skip
    write_text(folder.path / "curves.svg", curves(content))
    best = chips[found.points.index(found.best)]
    write_text(folder.path / "best.yaml", yaml_text(best.content))
    folder.finish(content)
    if as_json:
        print_json({**content, "out": str(folder.path)})
    else:
        report_points(content, folder.path)


def values_of(text: str) -> tuple[str, list[str]]:
    """Parse `KEY=V1,V2` to the key and its values."""
    key, equals, values = text.partition("=")
    found = [value.strip() for value in values.split(",")]
    if not equals or not all(found):
        raise ConfigurationError(f"--vary {text!r}: expected KEY=V1,V2,..., for example adc.bits=4,6,8")
    if len(set(found)) < len(found):
        raise ConfigurationError(f"--vary {text!r}: a value occurs twice")
    return key.strip(), found


def row_of(values: Mapping[str, Any], point: Any) -> dict[str, Any]:
    """Return a row of results.csv: the values of a point of the sweep, then its results."""
    low, high = point.ci95
    return {
        **values, "accuracy": point.accuracy, "low": low, "high": high, "sigma": point.sigma,
        "max_error_full_scale": point.max_error_full_scale,
    }  # fmt: skip


def table_of(rows: Sequence[dict[str, Any]]) -> str:
    """Return results.csv: one row per point."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def report_points(content: dict[str, Any], path: Path) -> None:
    """Print the points as a table."""
    rows = [
        (
            *(str(row[key]) for key in content["keys"]), f"{100 * row['accuracy']:.2f} %",
            f"{100 * row['low']:.2f} to {100 * row['high']:.2f}",
            "" if row["sigma"] is None else f"{100 * row['sigma']:.2f}",
        )
        for row in content["points"]
    ]  # fmt: skip
    show.table(
        (*content["keys"], "accuracy", "95 % interval", "spread between chips, points"), rows,
        f"{content['network']} on {content['dataset']}, {content['images']} {content['split']} images, "
        f"{content['encoding']}, {content['trials']} chips per point",
    )  # fmt: skip
    if content["fitted_fresh"]:
        show.say(
            "Converters are fitted just after programming, and used at all points; --set calibration.fresh=false fits "
            "them again at each point"
        )
    if len({row["accuracy"] for row in content["points"]}) > 1:
        show.say(f"Lowest accuracy: {', '.join(f'{key}={value}' for key, value in content['worst'].items())}")
    else:
        show.say("All points have the same accuracy")
    show.say(f"Computed on: {content['device']}")
    show.say_path(
        f"Digital quantized network: {100 * content['accuracy_quantized']:.2f} %. {content['seconds']:.0f} s. "
        f"Run folder: {path}"
    )
