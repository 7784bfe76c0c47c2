"""The text of docs/peers.md, made from the results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.measures import accuracy, current_error, difference

PAGE = Path(__file__).resolve().parents[2] / "docs" / "peers.md"
WRITTEN_BY = "<!-- Written by `python -m benchmarks.peers`; do not edit. -->"
TITLES = {"aihwkit": "aihwkit", "lightning": "aihwkit-lightning", "crosssim": "CrossSim"}
# What a model of another package leaves out of the circuit, by package and model.
MODELS: dict[tuple[str, str], str] = {
    ("norsim", "exact sums"): "no wires, no cells: the sums of levels",
    ("norsim", "norsim nodal"): "the circuit, with the cell characterised by ngspice",
    ("norsim", "norsim macro"): "the reduced model of that circuit",
    ("aihwkit", "no wires"): "linear cells, no wires",
    ("aihwkit", "bitlines by formula"): "`forward.ir_drop`: linear cells, bitlines by a formula",
    ("aihwkit", "bitlines in time"): "`TorchInferenceRPUConfigIRDropT`: linear cells, bitlines solved in time steps",
    ("lightning", "no wires"): "linear cells, no wires",
    ("crosssim", "no wires"): "linear cells, no wires",
    ("crosssim", "bitlines and straps"): "linear cells; bitlines with ends, and straps as a line a column, solved",
}  # fmt: skip


def page(found: Mapping[str, Any]) -> str:
    """Return the page of the results of a run."""
    return "\n".join([*_head(found), *_tiles(found), *_networks(found), *_expressed(found), *_machine(found)]) + "\n"


def _head(found: Mapping[str, Any]) -> Iterator[str]:
    names = [TITLES[name] for name in found["packages"]]
    yield from ("# Beside other simulators", "", WRITTEN_BY, "")
    yield (
        f"The same trained 4-bit ResNet-20, the same images and the same tile in norsim and in {_listed(names)}, in "
        "one run on one machine. Each package was given what it can express of the chip; what it cannot is listed below. "
        "Other settings of these packages, and other versions, were not run."
    )
    for name, reason in found["missing"].items():
        yield from ("", f"{TITLES[name]} was not run: {reason}")
    yield ""


def _tiles(found: Mapping[str, Any]) -> Iterator[str]:
    constants = found["constants"]
    yield from ("## Currents of a tile", "")
    yield (
        f"ngspice solves the deck of a tile: cells at random levels, normal around level 8 of 0 to 15, under "
        f"{found['plan']['reads']} random reads of 5 to 90 % active wordlines. Each model predicts the currents of all "
        "bitlines. Errors are their differences from ngspice, in per cent of full scale: all cells of a bitline at the "
        f"top level, {1e6 * constants['top_amps']:g} µA each. The last two columns are after the best gain and offset "
        "of each bitline, which a calibration finds; what is left changes with the input."
    )
    yield ""
    heads = ("model", "rms", "largest", "rms, fitted", "largest, fitted")
    for result in found["tiles"].values():
        rows, columns = result["size"]
        yield from (f"### {rows}×{columns}, {result['wires']}", "", f"| {' | '.join(heads)} |", "|---" * 5 + "|")
        errors = {("norsim", who): error for who, error in result["errors"].items()}
        errors |= _of_packages(found, f"{rows}x{columns}", result)
        for (package, model), error in errors.items():
            what = MODELS[package, model]
            name = what if package == "norsim" and model == "exact sums" else f"{TITLES.get(package, model)}: {what}"
            values = [_percent(error[key]) for key in ("rms", "largest", "fitted_rms", "fitted_largest")]
            yield f"| {name} | {' | '.join(values)} |"
        used = result["range"]
        yield from ("", f"The currents span {100 * used:.0f} % of full scale; a step of an {constants['adc_bits']}-bit "
                    f"converter over this span is {_percent(used / (2 ** constants['adc_bits'] - 1))} of full scale. "
                    f"ngspice took {result['seconds']:.0f} s.", "")  # fmt: skip
    yield from (tile_words(found), "")


def _of_packages(found: Mapping[str, Any], size: str, result: Mapping[str, Any]) -> dict[tuple[str, str], Any]:
    """Return the errors of the models of other packages: those without wires on a tile without, all of them on others
    with wires."""
    import numpy as np

    exact, errors = np.array(result["amps"]), {}
    for package, own in found["packages"].items():
        for key, amps in own["tiles"].items():
            of_size, wires, model = key.split("/")
            if of_size == size and wires in ("no wires", result["wires"]):
                errors[package, model] = current_error(np.array(amps), exact, result["full_scale_amps"])
    return errors


def best_of_others(found: Mapping[str, Any], tile: str) -> tuple[str, float]:
    """Return the model of other packages that is nearest to ngspice after the fit on a tile, and its rms error."""
    result = found["tiles"][tile]
    errors = _of_packages(found, "x".join(map(str, result["size"])), result)
    package, model = min(errors, key=lambda key: errors[key]["fitted_rms"])
    return f"{TITLES[package]} ({MODELS[package, model]})", errors[package, model]["fitted_rms"]


def tile_words(found: Mapping[str, Any]) -> str:
    """Return what the errors of the tiles amount to, in sentences."""
    lines = ["After the fit of each bitline:", ""]
    for tile, result in found["tiles"].items():
        if result["wires"] != "no wires":
            name, error = best_of_others(found, tile)
            sums, ours = (result["errors"][who]["fitted_rms"] for who in ("exact sums", "norsim macro"))
            lines.append(
                f"- {tile.replace('x', '×', 1)}: exact sums are {_percent(sums)} off; of the other packages' models, "
                f"{name} is nearest, {_percent(error)} off; norsim's macro, {_percent(ours)}."
            )
    return "\n".join(lines)


def _networks(found: Mapping[str, Any]) -> Iterator[str]:
    ours, labels = found["norsim"], next(one["labels"] for one in found["norsim"].values() if "labels" in one)
    reference = ours["integers"]["classes"]
    yield from ("## Accuracy and time", "")
    yield (
        f"The first {len(labels)} test images of CIFAR-10. Intervals are 95 %: Wilson's for accuracies, and a "
        "bootstrap over images for the difference from the integers, paired image by image. Differences between rows are small "
        "beside these intervals unless they say so. Seconds are those of the processor, since the machine is shared; "
        "building (for norsim: programming, models and calibration) is counted once."
    )
    yield from ("", "| network | images | accuracy | difference from the integers | alike | s per image | s to build |",
                "|---" * 7 + "|")  # fmt: skip
    rows = [(f"norsim, {name}", one) for name, one in ours.items()]
    rows += [(f"{TITLES[package]}, {name}", one) for package, own in found["packages"].items()
             for name, one in own["networks"].items()]  # fmt: skip
    for name, one in rows:
        yield _network_row(name, one, labels, reference)
    yield ""


def _network_row(name: str, one: Mapping[str, Any], labels: Sequence[int], reference: Sequence[int]) -> str:
    count = len(one["classes"])
    share, (low, high) = accuracy(one["classes"], labels[:count])
    change, (least, most) = difference(one["classes"], reference[:count], labels[:count])
    alike = sum(own == other for own, other in zip(one["classes"], reference, strict=False))
    return (
        f"| {name} | {count} | {100 * share:.1f} % ({100 * low:.1f} to {100 * high:.1f}) | {100 * change:+.1f} points "
        f"({100 * least:+.1f} to {100 * most:+.1f}) | {alike} | {one['seconds'] / count:.2g} | "
        f"{one['build_seconds']:.2g} |"
    )


def _expressed(found: Mapping[str, Any]) -> Iterator[str]:
    known = found["constants"]
    yield from ("## What each package was given", "")
    yield from ("| of the chip | norsim | aihwkit | aihwkit-lightning | CrossSim |", "|---" * 5 + "|")
    bits = known["adc_bits"]
    for row in (
        ("cell", "SPICE subcircuit", "conductance", "conductance", "conductance while the input is 1"),
        ("weights", "16 levels, a reference column a group of bitlines", "signed numbers of the same grid", "the same",
         "conductances around half of the range, one column of weight 0 a tile, subtracted after conversion"),
        ("activations", "4 passes of one bit", "one read of the whole code", "one read of the whole code",
         "4 passes of one bit"),
        ("tile", f"{known['wordlines']}×{known['bitlines']}", "the same; larger layers in equal parts",
         f"{known['wordlines']} inputs, any number of outputs", "the same; larger layers in equal parts"),
        ("converter", f"{bits} bit a pass, range fitted a tile", f"{bits} bit a read, range of the layer",
         f"{bits} bit a read, range of each output by its largest weight", f"{bits} bit a pass, range of the layer"),
        ("gain and offset of each output", "fitted", "none", "none", "none"),
        (f"bitline, {known['bitline_ohms']:g} Ω a cell", "solved", "formula, or solved in time", "none", "solved"),
        (f"end of a bitline, {known['bitline_end_ohms']:g} Ω", "solved", "none", "none", "solved"),
        (f"source line, {known['source_ohms']:g} Ω a cell", "solved", "none", "none", "none"),
        ("straps", "solved", "none", "none", "as a supply line a column, grounded at one end"),
    ):  # fmt: skip
        yield f"| {' | '.join(row)} |"
    yield ""
    yield (
        "So the differences on tiles with wires have three causes. A formula for the drop knows sums of a column, and "
        "a solved line knows where in it current flows. The current of a conductance falls in proportion to its volts; "
        "that of a NOR cell in its read falls less with its drain, and more with its source, which also takes volts "
        "from its gate. And a source line is shared by the bitlines of a group, so the current of one bitline depends "
        "on the others; no column by itself has that."
    )
    yield ""


def _machine(found: Mapping[str, Any]) -> Iterator[str]:
    yield from ("## Versions and machine", "")
    yield f"{found['machine']}; norsim {found['versions']}."
    for name, own in found["packages"].items():
        versions = ", ".join(f"{key} {value}" for key, value in own["versions"].items() if key != "package")
        yield f"{TITLES[name]} {own['versions']['package']}, with {versions}."
    yield from ("", "```text", found["command"], "```", "")
    yield (
        "[Contributing](contributing.md#beside-other-simulators) says how to install the packages. Nothing of them is "
        "part of norsim."
    )


def _percent(share: float) -> str:
    value = 100 * share
    return f"{value:.2g} %" if value >= 1e-3 else f"{value:.0e} %" if value else "0 %"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
