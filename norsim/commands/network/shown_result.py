"""The result of an evaluation, for people: tables, sentences, and results.csv."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from norsim.commands.shared import show
from norsim.commands.shared.proof_options import proof_in_words, show_macs
from norsim.configuration.quantities import engineering
from norsim.quantization.by_layer.bits import label_of_rows

if TYPE_CHECKING:
    from norsim.evaluation.evaluate import Evaluation
    from norsim.evaluation.metrics import Metric, Predictions


def table_of(
    found: Evaluation, metric: Metric | None, known: Predictions | None, others: dict[str, Predictions], skipped: int
) -> str:  # fmt: skip
    """Return results.csv: for each image its label and the class from each network, `[images]`; `others` by column.
    Images are numbered from `skipped`.

    With a metric, the value of each image by itself instead of the classes, empty where that has none.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    if metric is not None:
        from norsim.evaluation.quality.judge import of_each

        writer.writerow(["image", "array", "quantized", "float"])
        parts = (found.predictions, found.predictions_quantized, found.predictions_float)
        columns = [of_each(metric, part, found.labels) for part in parts]
        writer.writerows([image, *row] for image, row in enumerate(zip(*columns, strict=True), skipped))
        return text.getvalue()
    writer.writerow(["image", "label", "array", "quantized", "float", *others])
    full = known if known is not None else [""] * found.images
    rows = zip(found.labels, found.predictions, found.predictions_quantized, full, *others.values(), strict=True)
    writer.writerows([image, *row] for image, row in enumerate(rows, skipped))
    return text.getvalue()


def report_result(found: Evaluation, path: Path, verbose: bool, summary: dict[str, Any]) -> None:
    """Print the result as a table and sentences."""
    from norsim.evaluation.quality.words import changes_in_words

    results = [
        ("float", found.accuracy_float, found.accuracy_float_ci95),
        (f"{label_of_rows(found.layers)}, digital", found.accuracy_quantized, found.accuracy_quantized_ci95),
        (f"on the array ({found.backend})", found.accuracy, found.accuracy_ci95),
    ]
    title = f"{found.network} on {found.dataset}, {found.images} test images, {found.encoding}"
    rows = []
    for name, accuracy, interval in [] if found.accuracy is None else results:
        known = accuracy is not None and interval is not None
        ends = f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}" if known and interval else "unknown"
        rows.append((name, f"{100 * accuracy:.2f} %" if accuracy is not None else "unknown", ends))
    if rows:
        show.table(("", "accuracy", "95 % interval"), rows, title)
    if found.metric != "accuracy":
        show.table(("", found.metric, "95 % interval"), rows_of_metric(found), title)
    for text in changes_in_words(summary) if found.chips is None else ():
        show.say(text)
    trials = summary.get("trials")
    if trials:
        lowest, highest = min(trials["accuracies"]), max(trials["accuracies"])
        show.say(
            f"{trials['count']} chips: {100 * lowest:.2f} % to {100 * highest:.2f} %. Spread between chips, without "
            f"the chance of the images: {100 * trials['sigma']:.2f} points ({100 * trials['sigma_ci95'][0]:.2f} to "
            f"{100 * trials['sigma_ci95'][1]:.2f}). The interval covers all chips of the design and all images; for "
            f"these images alone it is {_percent_range(trials['ci95_chips'])}, for these chips alone "
            f"{_percent_range(trials['ci95_images'])}"
        )
        if "yield" in trials:
            above = trials["yield"]
            show.say(
                f"{100 * above['accuracy']:g} % is reached by {100 * above['share']:.0f} % of these chips "
                f"({_percent_range(above['ci95'])}), and by {100 * above['model_share']:.0f} % of all chips "
                f"({_percent_range(above['model_ci95'])}) if their accuracies have a normal distribution with that "
                "spread"
            )
    for line in proof_in_words(found):
        show.say(line)
    from norsim.periphery.circuits.energy import step_in_words

    cost = summary["energy"]
    if cost["joules_image"]:
        share = 100 * cost["converters_joules_image"] / cost["joules_image"]
        show.say(
            f"Cost per image: {engineering(cost['joules_image'], 'J')} in cells, driven lines and converters, "
            f"{share:.1f} % of it in converters, at {step_in_words(cost['adc_step_joules'])}, and "
            f"{engineering(cost['latency_seconds'], 's')} (summary.json states what is included)"
        )
        show.say(chip_in_words(cost["chip"]))
    if found.programming is not None:
        show.say(programming_in_words(found.programming))
    from norsim.tiling.digital import listed

    show_macs(found, verbose)
    show.say(f"These stay digital: {listed(summary['digital'], verbose)}")
    show.say(f"Computed on: {found.device}")
    show.say_path(f"{found.seconds:.0f} s. Run folder: {path}")


def programming_in_words(found: dict[str, Any]) -> str:
    """Return a sentence on the cells that pulses programmed, and on the time and energy of that."""
    from norsim.evaluation.programming import in_words

    took = f"{engineering(found['seconds'], 's')} and {engineering(found['joules'], 'J')}"
    return f"Programming (silicon.pulses): {in_words(found)}. It takes {took}"


def chip_in_words(chip: dict[str, Any]) -> str:
    """Return a sentence on energy and area of the whole chip, with the largest parts first."""
    joules, areas = chip["joules"], chip["areas"]
    return (
        f"With the circuits around the arrays (cost.circuits): {engineering(chip['joules_image'], 'J')} per image, "
        f"{chip['tops_per_watt']:.3g} TOPS/W ({_largest(joules)}), on {1e6 * chip['square_metres']:.3g} mm2 "
        f"({_largest(areas)})"
    )


def _largest(parts: dict[str, float]) -> str:
    """Return the shares of parts, in per cent, from the largest to those of at least 1 %."""
    total = sum(parts.values())
    shares = sorted(((100 * part / total, name) for name, part in parts.items()), reverse=True)
    return ", ".join(f"{name} {share:.0f} %" for share, name in shares if share >= 1)


def rows_of_metric(found: Evaluation) -> list[tuple[str, str, str]]:
    """Return the values of the metric with their intervals, as a table."""
    results = [
        ("float", found.metric_float, found.metric_float_ci95),
        ("integers, digital", found.metric_quantized, found.metric_quantized_ci95),
        (f"on the array ({found.backend})", found.metric_value, found.metric_ci95),
    ]
    return [
        (name, "unknown" if value is None else f"{value:.5g}",
         "unknown" if interval is None else f"{interval[0]:.5g} to {interval[1]:.5g}")
        for name, value, interval in results
    ]  # fmt: skip


def _percent_range(interval: tuple[float, float]) -> str:
    return f"{100 * interval[0]:.2f} % to {100 * interval[1]:.2f} %"


def warn_of_labels(found: Evaluation) -> None:
    """Say on stderr if not one image is classified rightly, by integers or in float: labels are then numbered otherwise
    than the network's scores."""
    if found.accuracy_quantized == 0 and not found.accuracy_float and found.images >= 10:
        click.echo(
            f"norsim: none of the {found.images} images has the class that the network gives it, without the array "
            "either; labels must be numbered as the network's scores are, and images scaled as in its training",
            err=True,
        )
