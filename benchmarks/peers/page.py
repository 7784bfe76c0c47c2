"""The text of docs/peers.md, made from the results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.measures import accuracy, difference

PAGE = Path(__file__).resolve().parents[2] / "docs" / "peers.md"
COMMAND = (
    "python -m benchmarks.peers --data CIFAR10 --aihwkit-python PATH [--aihwkit-source FOLDER] --lightning-python PATH "
    "--crosssim FOLDER --crosssim-python PATH"
)
WRITTEN_BY = "<!-- Written by `python -m benchmarks.peers`; do not edit. -->"
TITLES = {"aihwkit": "aihwkit", "lightning": "aihwkit-lightning", "crosssim": "CrossSim"}
# What a model of another package leaves out of the circuit, by package and model.
MODELS: dict[tuple[str, str], str] = {
    ("norsim", "exact sums"): "no wires, no cells: the sums of levels",
    ("norsim", "nodal"): "the circuit, with the cell characterised by ngspice",
    ("norsim", "macro"): "the reduced model of that circuit",
    ("aihwkit", "no wires"): "linear cells, no wires",
    ("aihwkit", "bitlines by a formula"): "linear cells; a formula for the drop along a bitline (`forward.ir_drop`)",
    ("aihwkit", "bitlines in time"): "linear cells; bitlines solved in time steps (`TorchInferenceRPUConfigIRDropT`)",
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
        f"The same trained 4-bit ResNet-20, the same images and the same tile in norsim and in {_listed(names)}, on "
        "one machine. Each package was given what it can express of the chip; what it cannot is listed "
        "below. Other settings of these packages, and other versions, were not run."
    )
    if "without its compiled module" in found["packages"].get("aihwkit", {}).get("versions", {}).get("package", ""):
        yield from ("", "aihwkit ran from its source without its compiled module, so only its tiles in Python did. "
                    "`forward.ir_drop` of that module, a formula for the drop along a column, was not run, nor its "
                    "drop in time on the network.")  # fmt: skip
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
        for key, error in result["errors"].items():
            package, model = key.split("/")
            what = MODELS[package, model]
            name = f"norsim, {model}" if package == "norsim" else TITLES[package]
            name = what if model == "exact sums" else f"{name}: {what}"
            values = [_percent(error[key]) for key in ("rms", "largest", "fitted_rms", "fitted_largest")]
            yield f"| {name} | {' | '.join(values)} |"
        used = result["range"]
        yield from ("", f"The currents span {100 * used:.0f} % of full scale; a step of an {constants['adc_bits']}-bit "
                    f"converter over this span is {_percent(used / (2 ** constants['adc_bits'] - 1))} of full scale. "
                    f"ngspice took {result['seconds']:.0f} s.", "")  # fmt: skip
    yield from (tile_words(found), "")


def best_of_others(found: Mapping[str, Any], tile: str) -> tuple[str, float]:
    """Return the model of other packages that is nearest to ngspice after the fit on a tile, and its rms error."""
    errors = found["tiles"][tile]["errors"]
    best = min((key for key in errors if not key.startswith("norsim/")), key=lambda key: errors[key]["fitted_rms"])
    package, model = best.split("/")
    return f"{TITLES[package]} ({MODELS[package, model]})", errors[best]["fitted_rms"]


def tile_words(found: Mapping[str, Any]) -> str:
    """Return what the errors of the tiles amount to, in sentences."""
    lines = ["After the fit of each bitline:", ""]
    for tile, result in found["tiles"].items():
        if result["wires"] != "no wires":
            name, error = best_of_others(found, tile)
            sums, ours = (result["errors"][f"norsim/{who}"]["fitted_rms"] for who in ("exact sums", "macro"))
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
        "bootstrap over images for the difference from the integers, paired image by image; *alike* counts the images "
        "of the same class as in integers. Seconds are those of the processor; building (for norsim: programming, "
        "models and calibration, without ngspice's own) is counted once."
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
        (f"bitline, {known['bitline_ohms']:g} Ω a cell", "solved", "a formula, or solved on a tile", "none", "solved"),
        (f"end of a bitline, {known['bitline_end_ohms']:g} Ω", "solved", "none", "none", "solved"),
        (f"source line, {known['source_ohms']:g} Ω a cell", "solved", "none", "none", "none"),
        ("straps", "solved", "none", "none", "as a supply line a column, grounded at one end"),
    ):  # fmt: skip
        yield f"| {' | '.join(row)} |"
    yield ""
    yield (
        "What a model leaves out is its error on tiles with wires. Exact sums leave out all of it, and the fit of each "
        "bitline takes back what is in proportion to its current. A model of bitlines alone misses source lines and "
        "straps, and one of columns with a supply line each misses that bitlines share them: the source of a cell "
        "follows the currents of its neighbours on other bitlines. The current of a conductance falls in proportion to "
        "its volts; that of a NOR cell in its read falls less with the volts of its drain, and more with those of its "
        "source, which also takes them from its gate. In aihwkit's drop in time, cells of inputs 0 stay connected. In "
        "CrossSim the straps of `etox65`, grounded at both ends, are a supply line grounded at one end with a quarter "
        "of their resistance, whose mean drop under even load is the same."
    )
    yield ""


def _machine(found: Mapping[str, Any]) -> Iterator[str]:
    yield from ("## Versions and machine", "")
    yield f"{found['machine']}; norsim {found['versions']}."
    for name, own in found["packages"].items():
        versions = ", ".join(f"{key} {value}" for key, value in own["versions"].items() if key != "package")
        yield f"{TITLES[name]} {own['versions']['package']}, with {versions}."
    yield from ("", "```text", COMMAND, "```", "")
    yield "[Contributing](contributing.md) says how to install the packages. Nothing of them is part of norsim."


def _percent(share: float) -> str:
    value = 100 * share
    return f"{value:.2g} %" if value >= 1e-3 else f"{value:.0e} %" if value else "0 %"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
