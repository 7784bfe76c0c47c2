"""docs/results.md as text, from the summaries and the images' classes that the runs have left."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from results import silicon
from results.cases import ENERGY, card
from results.cells import Runs, classes_of, loss, nats, points, share

# For who opens the file; a page does not show it.
WRITTEN_BY = "<!-- Written by `make results`; do not edit. -->"
FIGURE = "![Points lost to each cause](pictures/causes.svg)"


def page(found: dict[str, Runs]) -> str:
    """The page of all networks: `{network: {run: summary}}`."""
    losses = (
        "Points lost against the digital 4-bit network: with one cause alone, by adding it to all others, and its "
        "Shapley value, the mean over orders of adding the causes; the Shapley values add up. The rise of the mean "
        "cross-entropy, over the same orders, resolves effects that change no class. The verdict is that of an "
        "equivalence test of the remainder."
    )
    columns = "alone | added last | Shapley value | cross-entropy, nats"
    parts = (
        _head(), _networks(found), _array(found), _speed(found),
        _attribution(found, "causes", f"cause | {columns}", losses, "", FIGURE, ""),
        _attribution(found, "layers", f"layer | {columns}"),
        silicon.cures(found), silicon.sweeps(found), silicon.energy(found),
    )  # fmt: skip
    lines = [line for part in parts for line in part]
    return "\n".join(lines) + "\n"


def _head() -> Iterator[str]:
    yield from ("# Results", "", WRITTEN_BY, "")
    yield (
        "`macro` reads every convolution and linear layer on the array, and ngspice solves a sample of the reads "
        "again. The chip is `etox65` unless another is named; `unfitted` leaves out the digital gain and offset of "
        "each column, which are fitted on training images. Intervals are 95 % intervals. Losses are in percentage "
        "points against the float network, on the same images; p is from the exact McNemar test."
    )
    yield ""
    yield (
        "The copy of CIFAR-10 is re-encoded as JPEG, so the accuracies are comparable with each other, but only "
        "roughly with those on the original images. Chen & Huang (2021) lose less than 2 points at 4 bit and 2.25 on "
        "their array."
    )
    yield ""


def _networks(found: dict[str, Runs]) -> Iterator[str]:
    yield from ("![Accuracies of all networks, float, at 4 bit and on the array](pictures/accuracy.svg)", "")
    yield from ("## Networks", "", "| network | data | width | float | 4 bit | loss at 4 bit (paper: < 2) | p | size |")
    yield "|---|---|---|---|---|---|---|---|"
    for network, runs in found.items():
        about, summary = card(network), next(iter(runs.values()))
        classes = classes_of(summary)
        yield (
            f"| {network} | {about['dataset']} | {about.get('width', 1):g} | "
            f"{share(summary, 'accuracy_float')} | {share(summary, 'accuracy_quantized')} | "
            f"{loss(classes, 'float', 'quantized')} | 1/{about['size_ratio']:.2f} |"
        )
    yield ""


def _array(found: dict[str, Runs]) -> Iterator[str]:
    yield from ("## On the array", "", "| network | run | accuracy | loss (paper: 2.25) | p | error | ADC codes | s |")
    yield "|---|---|---|---|---|---|---|---|"
    for network, runs in found.items():
        for name, summary in runs.items():
            if "accuracy" not in summary or name.startswith(ENERGY):
                continue
            proof = summary["verification"]
            yield (
                f"| {network} | {name} | {share(summary, 'accuracy')} | "
                f"{loss(classes_of(summary), 'float', 'array')} | {proof['max_error_full_scale']:.1e} | "
                f"{100 * proof['adc_mismatch_fraction']:.2f} % differ | {summary['seconds']:.0f} |"
            )
    yield ""
    yield (
        "Error: the largest error over the sampled reads against ngspice, in units of full scale. s: the time of the "
        "run, on a machine that may have done other work at the same time; the table below was measured on an idle "
        "machine."
    )
    yield ""


def _speed(found: dict[str, Runs]) -> Iterator[str]:
    timed = {network: runs["speed"] for network, runs in found.items() if "speed" in runs}
    if not timed:
        return
    yield from ("## Time", "")
    yield (
        "A complete `norsim eval-network` (set-up, calibration, the digital network, verification) against a plain "
        "float32 evaluation of the same images in the same process."
    )
    yield from ("", "| network | images | float, s | eval-network, s | ratio | peak memory, GiB |")
    yield "|---|---|---|---|---|---|"
    for network, summary in timed.items():
        yield (
            f"| {network} | {summary['images']} | {summary['float_seconds']:.1f} | {summary['seconds']:.0f} | "
            f"{summary['ratio']:.0f} | {summary['peak_gib']:.1f} |"
        )
    yield ""


def _attribution(found: dict[str, Runs], by: str, columns: str, *about: str) -> Iterator[str]:
    yield from (f"## By {by.removesuffix('s')}", "", *about, f"| network | run | images | {columns} |")
    yield "|---|---|---|---|---|---|---|---|"
    for network, runs in found.items():
        for name, summary in runs.items():
            if summary.get("by") == by:
                yield from _shares(network, name, summary)
    yield ""


def _shares(network: str, name: str, summary: dict[str, Any]) -> Iterator[str]:
    start = f"| {network} | {name} | {summary['images']} |"
    if summary["quantization"]:
        yield f"{start} quantization, against float | {points(summary['quantization'])} | | | |"
    for part in summary["shares"]:
        columns = " | ".join(points(part[kind]) for kind in ("alone", "without", "shapley"))
        yield f"{start} {part['name']} | {columns} | {nats(part['cross_entropy'])} |"
    yield f"{start} all together | {points(summary['array'])} | | | {nats(summary['array_cross_entropy'])} |"
    verdict = f"{summary['verdict']} within ±{summary['margin_points']:g}"
    yield f"{start} all together minus the sum | {points(summary['remainder'])}, {verdict} | | | |"
