"""docs/results.md as text, from the files of parts alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from results import silicon
from results.cells import (
    WRITTEN_BY,
    Found,
    Row,
    common,
    counted,
    error,
    lines,
    lost,
    not_yet,
    percent,
    points,
    row,
    section,
    shared,
    table,
    together,
)
from results.part import OTHERS, card
from results.plan import BITS, DIGITS, ENCODINGS, GATE_COUPLED_IMAGES, PARTS, REFERENCE, SHIPPED, SMALL

# The paper's losses, at 4 bit and on the array, in points.
PAPER = (2.0, 2.25)
STRAPS = {"ideal-straps": "ideal", REFERENCE: "grounded at both ends", "one-end": "grounded at one end"}
# What is recovered by what: the row without it, and the row with it.
REMEDIES = (
    ("column fit, straps at one end", "one-end-unfitted", "one-end"),
    ("cells programmed in place, straps at one end", "one-end", "one-end-in-place"),
    ("weights trained through the circuit, straps at one end", "one-end", "one-end-tuned"),
    ("straps at both ends instead of one", "one-end", REFERENCE),
    ("column fit, straps at both ends", "unfitted", REFERENCE),
    ("cells programmed in place, straps at both ends", REFERENCE, "in-place"),
    ("half the currents of cells, straps at both ends", REFERENCE, "half-current"),
)


def page(found: Found) -> str:
    """Return the page of the parts' files by name."""
    sections = (
        _head(found), _networks(found), _proof(found), _straps(found), _remedies(found), _encodings(found),
        _bits(found), silicon.stress(found), silicon.sweeps(found), silicon.energy(found), _speed(found),
        _attribution(found, "causes"), _attribution(found, "layers"), _parts(found),
    )  # fmt: skip
    return "\n".join(line for part in sections for line in part)


def _head(found: Found) -> Iterator[str]:
    yield from ("# Results", "", WRITTEN_BY, "")
    yield (
        "`macro` reads every convolution and linear layer on the array, and ngspice solves a sample of the reads "
        "again. The chip is `etox65` unless another is named: bit-serial, 8-bit converters, metal straps grounded at "
        "both ends, and a digital gain and offset of each column, fitted on training images. Intervals are 95 % "
        "intervals. Losses are in percentage points on the same images; p is from the exact McNemar test. Errors are "
        "the largest of the sampled reads, against ngspice and `nodal`, in steps of converters."
    )
    yield ""
    yield (
        "The copy of CIFAR-10 is re-encoded as JPEG, so the accuracies are comparable with each other, but only "
        "roughly with those on the original images. Chen & Huang (2021) lose less than 2 points at 4 bit and 2.25 on "
        "their array."
    )
    yield ""
    if any(row(found, network, REFERENCE).results for network in SHIPPED):
        yield from ("![Accuracies of all networks, float, at 4 bit and on the array](pictures/accuracy.svg)", "")


def _networks(found: Found) -> Iterator[str]:
    yield from ("## Networks", "")

    def cells(one: Row) -> Sequence[str]:
        before, digital, array = (one.correct(name) for name in ("float", "quantized", "array"))
        return [
            counted(one), percent(before), percent(digital), percent(array), *lost(before, digital),
            *lost(before, array), lost(digital, array)[0],
        ]  # fmt: skip

    at_bits, on_array = PAPER
    head = (
        f"network | images | float | 4 bit | array | loss at 4 bit (paper: < {at_bits:g}) | p | "
        f"loss on the array (paper: {on_array:g}) | p | of these by the array"
    )
    yield from table(head, lines(_rows(found, REFERENCE), cells, named=False))
    sizes = [f"{network} 1/{card(network)['size_ratio']:.2f}" for network in SHIPPED]
    yield from (f"At 4 bit a file of weights has this share of the size of the float one: {', '.join(sizes)}.", "")


def _rows(found: Found, *names: str) -> Iterator[Row]:
    """Yield the rows of all shipped networks that have a part of that name."""
    for network in SHIPPED:
        for name in names:
            one = row(found, network, name)
            if one.results or one.missing:
                yield one


def _proof(found: Found) -> Iterator[str]:
    yield from section(
        "Proof",
        "ngspice solves reads drawn at random from all, and one of every pass of every layer, on a tile drawn at "
        "random, again, and `nodal` reads of every tile. Then `nodal` classifies the same images with the same "
        "converters: the classes that differ from those of `macro`, with their exact interval, and the accuracy that "
        "this adds.",
    )

    def cells(one: Row) -> Sequence[str]:
        (result,) = one.results
        proof, end = result["verification"], result["end_to_end"]
        low, high = end["changed_ci95"]
        moved, least, most = (100 * one for one in (end["accuracy_difference"], *end["accuracy_difference_ci95"]))
        return [
            f"{end['changed']} of {end['images']} ({100 * low:.2f} to {100 * high:.2f} %)",
            f"{moved:.2f} ({least:.2f} to {most:.2f})", error(one), f"{one.worst('full_scale'):.1e}",
            str(proof["passes"]["reads"]), str(proof["samples"]), f"{100 * proof['worse_fraction_95']:.1f} %",
            f"{100 * proof['adc_mismatch_fraction']:.2f} %",
        ]  # fmt: skip

    head = (
        "network | classes changed | accuracy that changes, points | largest error, steps | of full scale | "
        "reads of passes | random reads | random reads that may be worse | ADC codes that differ"
    )
    yield from table(head, lines(_rows(found, "proof"), cells, named=False))


def _straps(found: Found) -> Iterator[str]:
    yield from section(
        "Ground metal",
        "Straps of 0.4 ohm a cell, the metal of bitlines, take the current of a segment through 1 ohm to ground, at "
        "both ends or at one; `etox65-ideal-straps` has straps without resistance. Against both ends: points lost on "
        "the images that both rows have.",
    )

    def cells(one: Row) -> Sequence[str]:
        other = row(found, one.network, REFERENCE)
        compared = ""
        if one.name != REFERENCE:
            compared = lost(*reversed(common(one, other)))[0] if other.results else not_yet(other.missing)
        return [STRAPS[one.name], counted(one), percent(one.correct("array")), *_below(one), compared, error(one)]

    head = "network | row | straps | images | array | below 4 bit | p | against both ends | error, steps"
    yield from table(head, lines(_rows(found, *STRAPS), cells))


def _below(one: Row) -> tuple[str, str]:
    """Return the points lost by the array, and p."""
    return lost(one.correct("quantized"), one.correct("array"))


def _remedies(found: Found) -> Iterator[str]:
    yield from section(
        "Mitigations",
        "Points that a mitigation recovers, and accuracies without and with it, on the images of both rows. `in place` "
        "programs cells until the currents of the tile's lines are right, with all wires in place "
        "(`silicon.in_situ`). Half the currents are `bit_serial.top_level=0.8 uA`: wires drop half, and what senses "
        "has half the current to resolve in the time of a read, whose noise these rows do not have.",
    )

    def remedies() -> Iterator[Sequence[str]]:
        for network in SHIPPED:
            for what, without, remedied in REMEDIES:
                one, other = row(found, network, without), row(found, network, remedied)
                if not all(some.results or some.missing for some in (one, other)):
                    continue
                missing = [name for some in (one, other) if not some.results for name in some.missing]
                if missing:
                    yield [network, what, not_yet(missing)]
                    continue
                before, after = common(one, other)
                recovered, p = lost(after, before)
                yield [network, what, str(len(before)), percent(before), percent(after), recovered, p]

    yield from table("network | mitigation | images | without | with | recovered, points | p", remedies())


def _encodings(found: Found) -> Iterator[str]:
    yield from section(
        "Encodings",
        "How activations become volts and weights become cells: [Encodings](theory/encodings.md). `reference` is "
        "bit-serial with reference columns for the term of the zero point; `digital-zero` computes this term, and "
        f"`differential` has two cells a weight. `macro` does not read gate-coupled; `nodal` reads it on the first "
        f"{GATE_COUPLED_IMAGES} images.",
    )

    def cells(one: Row) -> Sequence[str]:
        encoding = one.results[0]["encoding"]
        return [encoding, counted(one), percent(one.correct("array")), *_below(one), error(one)]

    wanted = [one for one in _rows(found, REFERENCE, *ENCODINGS, "gate-coupled") if one.network in (DIGITS, SMALL)]
    yield from table("network | row | encoding | images | array | below 4 bit | p | error, steps", lines(wanted, cells))


def _bits(found: Found) -> Iterator[str]:
    yield from section(
        "Other widths",
        "Float weights, quantized after training to the bits of weights and activations; rows of one value have it "
        "for both. `gpt` predicts characters, and has the cross-entropy in nats, less of which is better; the others "
        "classify.",
    )

    def cells(one: Row) -> Sequence[str]:
        (result,) = one.results
        values = [_judged(result, f"metric{end}") for end in ("_float", "_quantized", "_value")]
        change = result["metric_change_quantized"], result["metric_change_quantized_ci95"]
        return [str(result["images"]), *values, _change(result, *change), error(one)]

    names = [f"bits-{width.replace('/', '-')}" for width in BITS]
    some = [row(found, network, name) for network in (SMALL, *OTHERS) for name in names]
    head = "network | row | images or texts | float | quantized | array | change by the array | error, steps"
    yield from table(head, lines(some, cells))


def _judged(result: dict[str, Any], key: str) -> str:
    value, span = result[key], result[f"{key.removesuffix('_value')}_ci95"]
    if value is None:
        return "not known"
    if result["metric"] == "accuracy":
        return f"{100 * value:.2f} % ({100 * span[0]:.2f} to {100 * span[1]:.2f})"
    return f"{value:.4f} ({span[0]:.4f} to {span[1]:.4f})"


def _change(result: dict[str, Any], value: float, span: Sequence[float] | None) -> str:
    unit, digits = (100.0, 2) if result["metric"] == "accuracy" else (1.0, 4)
    ends = "" if span is None else f" ({unit * span[0]:.{digits}f} to {unit * span[1]:.{digits}f})"
    return f"{unit * value:.{digits}f}{ends}"


def _speed(found: Found) -> Iterator[str]:
    yield from section(
        "Time",
        "A complete `norsim eval-network` (set-up, calibration, the digital network, verification) against a plain "
        "float32 evaluation of the same images in the same process.",
    )

    def cells(one: Row) -> Sequence[str]:
        (result,) = one.results
        return [
            str(result["images"]), f"{result['float_seconds']:.1f}", f"{result['seconds']:.0f}",
            f"{result['ratio']:.0f}", f"{result['peak_gib']:.1f}",
        ]  # fmt: skip

    head = "network | images | float, s | eval-network, s | ratio | peak memory, GiB"
    yield from table(head, lines(_rows(found, "time"), cells, named=False))


def _attribution(found: Found, by: str) -> Iterator[str]:
    names = [part.row for part in PARTS if part.row.startswith(f"{by}-")]
    yield from (f"## By {by.removesuffix('s')}", "")
    if by == "causes":
        yield (
            "Points lost against the digital 4-bit network: with one cause alone, by adding it to all others, and its "
            "Shapley value, the mean over orders of adding the causes; the Shapley values add up. The rise of the mean "
            "cross-entropy, over the same orders, resolves effects that change no class. The verdict is that of an "
            "equivalence test of the remainder."
        )
        yield ""
        if any(f"{network}-{name}" in found for network in SHIPPED for name in names):
            yield from ("![Points lost to each cause](pictures/causes.svg)", "")

    def shares() -> Iterator[Sequence[str]]:
        for one in _rows(found, *dict.fromkeys(names)):
            if one.missing:
                yield [one.network, one.name, not_yet(one.missing)]
            for result in one.results:
                yield from ([one.network, one.name, *cells] for cells in _shares(result))

    yield from table(
        f"network | row | images | {by.removesuffix('s')} | alone | added last | Shapley value | cross-entropy, nats",
        shares(),
    )


def _shares(result: dict[str, Any]) -> Iterator[Sequence[str]]:
    images = str(result["images"])
    if result["quantization"]:
        yield [images, "quantization, against float", points(result["quantization"])]
    for part in result["shares"]:
        yield [images, part["name"], *shared(part)]
    yield [images, *together(result)]
    verdict = f"{result['verdict']} within ±{result['margin_points']:g}"
    yield [images, "all together minus the sum", f"{points(result['remainder'])}, {verdict}"]


def _parts(found: Found) -> Iterator[str]:
    yield from ("## How it was measured", "")
    there = [part for part in PARTS if part.name in found]
    yield (
        f"`make results` measures this page in parts, of which {len(there)} of {len(PARTS)} have been. DATA is the "
        "folder of CIFAR-10, NETWORKS that of further weights, TEXT that of the text, BEFORE that of the command "
        "before. Minutes are those of the machine, which may have done other work at the same time; physics is the "
        "start of a hash of the code that computes currents."
    )
    yield ""
    machines = list(dict.fromkeys(found[part.name]["made"]["machine"] for part in there))
    yield from (f"{number}. {machine}" for number, machine in enumerate(machines, 1))
    yield ""

    def each() -> Iterator[Sequence[str]]:
        for part in there:
            content = found[part.name]
            made = content["made"]
            commands = "; ".join(f"`{one}`" for one in content["commands"])
            yield [
                part.name, f"{made['minutes']:.1f}", str(machines.index(made["machine"]) + 1),
                content["inputs"]["physics"][:8], commands,
            ]  # fmt: skip

    yield from table("part | minutes | machine | physics | commands", each())
