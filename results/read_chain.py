"""`python -m results.read_chain [--data DIR] [--networks NAME ...]`: what ground metal and the read chain cost; writes
docs/read-chain.md and its figure. Finished runs are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from norsim.files import write_text
from results.cases import Case, card, options
from results.cells import Runs, classes_of, loss, nats, points, share
from results.figures import draw_ranking

IMAGES = 1000
RANKED_IMAGES = 200
# Straps of the metal of bitlines, in a column of their own: metal 1 of a 65 nm process is 105 nm wide and 170 nm thick
# (Bai et al., IEDM 2004), so copper of 30 nohm m (ITRS 2005) has 1.7 ohm a um, and a cell is about 0.25 um long.
METAL = ("--set", "bit_serial.wires.strap=0.4 ohm", "--set", "bit_serial.wires.ground=1 ohm")
STRAPS = {
    "ideal straps": (),
    "grounded at both ends": ("--set", "bit_serial.wires.strap_ends=both", *METAL),
    "grounded at one end": ("--set", "bit_serial.wires.strap_ends=one", *METAL),
}
PROVED = ("--spice-sample", "2", "--proof-images", "0", "--proof-seconds", "120")
# A read chain with every effect on: what each value is, as the page says it.
CHAIN = {
    "bit_serial.wires.strap_ends=one": "straps are grounded at one end only",
    "bit_serial.wires.strap=0.4 ohm": "metal of straps, a cell",
    "bit_serial.wires.ground=1 ohm": "from the end of a strap to ground",
    "sense.multiplexer=100 ohm": "column multiplexer",
    "sense.global_bitline=50 ohm": "global bitline",
    "sense.offset=1 mV": "offset of the amplifiers, one per bitline, standard deviation",
    "sense.read_time=5 ns": "a read is sampled 5 ns after the edge of its wordlines",
    "sense.global_farads=0.5 pF": "capacitance of the global bitline",
    "adc.inl=0.5": "non-linearity of the SAR converters, standard deviation in steps at mid-scale",
    "adc.noise=0.5": "noise of a conversion, in steps",
    "silicon.programming={scale: 19.887 nA, knee: 176.31 nA}": "spread of programming, that of 40 nm SONOS cells",
    "silicon.reading={scale: 5 nA, knee: 50 nA}": "noise of a read of a cell",
}


def ground(network: str) -> list[Case]:
    """Return the runs on each kind of straps, as programmed to currents of single cells, and in place."""
    return [
        Case(
            f"{name.replace(' ', '-')}{'-in-place' if in_place else ''}", network, "eval-network",
            (*chip, *PROVED, *_first(network, IMAGES), *(("--set", "silicon.in_situ=true") if in_place else ())),
        )
        for name, chip in STRAPS.items()
        for in_place in (False, True)
    ]  # fmt: skip


def _first(network: str, images: int) -> tuple[str, ...]:
    """Return the option that takes the first test images; digits has fewer, all of which are taken."""
    return () if card(network)["dataset"] == "digits" else ("--images", str(images))


def ranking(network: str) -> Case:
    """Return the attribution of a loss to the causes of a chip that has them all."""
    settings = [word for setting in CHAIN for word in ("--set", setting)]
    return Case(
        "causes", network, "attribute", ("--by", "causes", *settings, "--images", str(RANKED_IMAGES), "--orders", "2")
    )


def page(grounds: dict[str, Runs], ranked: dict[str, dict[str, Any]]) -> str:
    """Return the page of `{network: {run: summary}}` and `{network: attribution}`."""
    return "\n".join([*_head(), *_ground(grounds), *_ranking(ranked)]) + "\n"


def _head() -> Iterator[str]:
    yield from ("# The read chain: which effect decides an accuracy", "")
    yield "<!-- Written by `python -m results.read_chain`; do not edit. -->"
    yield ""
    yield (
        f"Up to {IMAGES} test images in bit-serial with `macro`, 4-bit weights and activations. Losses are in points "
        "against the 4-bit integers on the same images, with 95 % intervals; p is from the exact McNemar test. "
        "[Sensing](theory/sensing.md) and [the array](theory/array.md#source-lines) have the models."
    )
    yield ""


def _ground(found: dict[str, Runs]) -> Iterator[str]:
    yield from ("## Ground metal", "")
    yield (
        "Straps of 0.4 ohm a cell, the metal of bitlines, take the current of a segment through 1 ohm to ground; those "
        "of the preset are ideal. `in place` programs cells until the currents of the tile's lines are right, with all "
        "wires in place (`silicon.in_situ`)."
    )
    yield from ("", "| network | float | straps | programmed | array | loss | p | error against ngspice |")
    yield "|---|---|---|---|---|---|---|---|"
    for network, runs in found.items():
        for name, summary in runs.items():
            straps = name.replace("-", " ").removesuffix(" in place")
            proof = summary["verification"]
            worst = f"{proof['max_error_full_scale']:.1e}" if proof else ""
            yield (
                f"| {network} | {share(summary, 'accuracy_float')} | {straps} | "
                f"{'in place' if name.endswith('in-place') else 'cell by cell'} | {share(summary, 'accuracy')} | "
                f"{loss(classes_of(summary), 'quantized', 'array')} | {worst} |"
            )
    yield ""


def _ranking(found: dict[str, dict[str, Any]]) -> Iterator[str]:
    yield from (
        "## All effects together",
        "",
        "![Points lost to each cause of the read chain](pictures/read-chain.svg)",
        "",
    )
    yield from ("| setting of the chip `etox65` | what it is |", "|---|---|")
    yield from (f"| `{setting}` | {what} |" for setting, what in CHAIN.items())
    yield ""
    yield (
        f"The first {RANKED_IMAGES} images. Shapley values are means over orders of adding the causes; they add up to "
        "the whole. The largest rise of the mean cross-entropy comes first: it also shows effects that change no class."
    )
    yield from (
        "",
        "| network | cause | alone | added last | Shapley value | cross-entropy, nats |",
        "|---|---|---|---|---|---|",
    )
    for network, summary in found.items():
        for part in by_share(summary):
            columns = " | ".join(points(part[kind]) for kind in ("alone", "without", "shapley"))
            yield f"| {network} | {part['name']} | {columns} | {nats(part['cross_entropy'])} |"
        yield f"| {network} | all together | {points(summary['array'])} | | | {nats(summary['array_cross_entropy'])} |"
    yield ""


def by_share(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the causes of an attribution, the largest rise of the cross-entropy first."""
    found: list[dict[str, Any]] = summary["shares"]
    return sorted(found, key=lambda part: -part["cross_entropy"]["nats"])


def main() -> None:
    """Run what is missing and write the page."""
    chosen = options("python -m results.read_chain", __doc__, "read-chain.md").parse_args()
    root = chosen.runs / "read-chain"
    grounds = {name: {case.name: case.run(root, chosen.data) for case in ground(name)} for name in chosen.networks}
    small = [name for name in chosen.networks if card(name)["dataset"] == "digits" or name == "resnet20"]
    ranked = {name: ranking(name).run(root, chosen.data) for name in small}
    draw_ranking({name: by_share(summary) for name, summary in ranked.items()}, chosen.page.parent / "pictures")
    write_text(chosen.page, page(grounds, ranked))


if __name__ == "__main__":
    main()
