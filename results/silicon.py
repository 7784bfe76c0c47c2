"""What the page says of chips: the stress chip and its cures, sweeps over chips, energy, time and area."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from benchmarks import macros
from benchmarks.published import MACROS
from results.cells import Found, Row, common, error, lines, lost, not_yet, percent, points, row, section, table
from results.plan import REFERENCE, SHIPPED, SMALL, STRESSED, SWEPT

CURES = "stress-cures"
# An image takes the mean of all layers, so parts are those of a whole network.
PARTS_SHOWN = ("cells", "regulators", "lines", "drivers", "amplifiers", "converters", "digital", "buffers", "transfers")


def stress(found: Found) -> Iterator[str]:
    """Yield what each cure regains on the stress chip."""
    yield from section(
        "The stress chip",
        "On the stress chip, whose source lines are bare diffusion. All rows but `unfitted` have the column fit, and "
        "some have one more mitigation: `in-place`, cells programmed in place; `levels`, level currents and drain "
        "voltages selected on training images by `norsim sweep --split train`; `tuned`, weights trained through the "
        "circuit by `norsim finetune`. Losses are against the shipped digital 4-bit network.",
    )
    start = row(found, SMALL, "stress")

    def cells(one: Row) -> Sequence[str]:
        # The digital network of a tuned one has other weights.
        if start.results:
            digital = start if one.name.endswith("tuned") else one
            before, _ = common(digital, one, "quantized")
            below = lost(before, common(one, one)[0])[0]
        else:
            below = not_yet(start.missing)
        return [str(len(one.images)), percent(one.correct("array")), below, error(one)]

    some = [row(found, SMALL, name) for name in (*STRESSED, "stress-levels", "stress-tuned")]
    yield from table("network | row | images | accuracy | below 4 bit, points | error, steps", lines(some, cells))
    yield (
        "`norsim attribute --by cures`: points lost against the digital 4-bit network with no mitigation and with all, "
        "and the change by each one alone and by adding it to all others (negative: recovered)."
    )
    yield ""
    shares = row(found, SMALL, CURES)

    def cures() -> Iterator[Sequence[str]]:
        if shares.missing:
            yield [SMALL, not_yet(shares.missing)]
        for one in shares.results:
            first = [SMALL, str(one["images"])]
            yield [*first, "none", points(one["base"])]
            for cure in one["shares"]:
                yield [*first, cure["name"], points(cure["alone"]), points(cure["without"])]
            yield [*first, "all", points(one["array"])]

    yield from table("network | images | mitigations | alone | added last", cures())


def sweeps(found: Found) -> Iterator[str]:
    """Yield the accuracy over silicon, converters and wires."""
    yield from section(
        "Silicon, converters and wires",
        "Accuracy over properties of the chip, on the first images; the mean of ten chips if cells have a spread. The "
        "spread between chips leaves out the chance of the images. Spread and drift over time are those measured on "
        "40 nm SONOS cells; for the sweeps over time and temperature, converters and columns were fitted just after "
        "programming, at 27 degC. [Non-idealities](theory/silicon.md) has the models.",
    )
    some = [row(found, network, f"sweep-{name}") for network in SHIPPED[:2] for name in SWEPT]
    if any(one.results for one in some):
        words = "![Accuracy over spread, time, temperature, converter, wordline lag, rows and wires]"
        yield from (f"{words}(pictures/silicon.svg)", "")

    def rows() -> Iterator[Sequence[str]]:
        for one in some:
            if one.missing:
                yield [one.network, one.name, not_yet(one.missing)]
            for result in one.results:
                for at in result["points"]:
                    point = ", ".join(f"`{key}={at[key]}`" for key in result["keys"])
                    value = f"{100 * at['accuracy']:.2f} % ({100 * at['low']:.2f} to {100 * at['high']:.2f})"
                    sigma = "" if at["sigma"] is None else f"{100 * at['sigma']:.2f}"
                    yield [
                        one.network, one.name, str(result["images"]), str(result["trials"]), point, value, sigma
                    ]  # fmt: skip

    yield from table("network | row | images | chips | point | accuracy | between chips, points", rows())


def energy(found: Found) -> Iterator[str]:
    """Yield energy, time and area of an image, beside published macros."""
    yield from section(
        "Energy, time and area",
        "Of an image on `etox65`, the whole chip: an operation is half a multiply-accumulate. [Energy and "
        "time](theory/energy.md) has the costs and what they leave out.",
    )

    def cells(one: Row) -> Sequence[str]:
        cost = one.results[0]["energy"]
        chip = cost["chip"]
        each = 1e15 * chip["joules_image"] / (2 * cost["macs_image"])
        parts = [f"{1e9 * chip['joules'][name]:.3g}" for name in PARTS_SHOWN]
        return [
            f"{cost['macs_image'] / 1e6:.2f} M", f"{1e9 * chip['joules_image']:.4g}", *parts, f"{each:.3g}",
            f"{chip['tops_per_watt']:.3g}", f"{1e6 * chip['latency_seconds']:.4g} us",
            f"{1e6 * chip['square_metres']:.3g} mm²",
        ]  # fmt: skip

    some = [row(found, network, REFERENCE) for network in SHIPPED]
    head = f"network | MACs | energy, nJ | {' | '.join(PARTS_SHOWN)} | fJ an operation | TOPS/W | latency | area"
    yield from table(head, lines(some, cells, named=False))
    yield (
        "Published macros, and what the same costs predict for them; their page says [which parts are counted, and "
        "what is missing](theory/macros.md). A network on full-precision converters takes more energy an operation "
        "than a macro at its peak: layers that leave rows of a tile empty need as many conversions for less work."
    )
    yield ""
    predicted = json.loads(macros.RESULTS.read_text())
    rows = [macros.comparison(macro, predicted[macro.name]) for macro in MACROS]
    head = "macro | published | predicted, all parts | counted parts | counted / published | area | predicted area"
    yield from table(head, rows)
