"""`python -m benchmarks.macros`: energy and area of published macros beside what norsim predicts for them.

It writes `benchmarks/macros.json` and, from it, the tables of `docs/theory/macros.md`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.published import MACROS, Macro
from norsim.chip.load import load_chip
from norsim.files import write_text
from norsim.validation.energy import CALIBRATION, costs_of, total

RESULTS = Path(__file__).with_name("macros.json")
PAGE = Path(__file__).resolve().parents[1] / "docs" / "theory" / "macros.md"
TABLE = re.compile(r"<!-- macros -->\n.*?<!-- end of macros -->", re.DOTALL)
# The factor within which a prediction counts as agreement.
WITHIN = 2.0


def predicted(macro: Macro) -> dict[str, Any]:
    """Return the parts of norsim.evaluation.chip_costs of a chip with the macro's keys and layers, for an input vector:
    `joules` and `areas` by part, and the `seconds` of all reads."""
    return costs_of(macro.network, load_chip("etox65-ideal-straps", {**CALIBRATION, **macro.stated, **macro.assumed}))


def per_operation(macro: Macro, found: Mapping[str, Any], left_out: Sequence[str]) -> float:
    """Return the predicted femtojoules per operation, without some parts."""
    return 1e15 * total(found["joules"], left_out) / macro.operations


def verdict(macro: Macro, ratio: float) -> str:
    """Return the ratio of predicted to published, with what it counts for."""
    agrees = max(ratio, 1 / ratio) <= WITHIN
    return f"{ratio:.2g} ×, " + ("not counted" if macro.hindsight else "within 2 ×" if agrees else "**apart**")


def comparison(macro: Macro, found: Mapping[str, Any]) -> list[str]:
    """Return a row of the table of energies and areas."""
    bound = "below " if macro.at_most else ""
    stated = "not stated" if macro.square_millimetres is None else f"{bound}{macro.square_millimetres:g} mm²"
    counted = per_operation(macro, found, macro.left_out)
    return [
        macro.name, f"{macro.femtojoules:.3g} fJ", f"{per_operation(macro, found, ()):.3g} fJ", f"{counted:.3g} fJ",
        verdict(macro, counted / macro.femtojoules), stated, f"{1e6 * total(found['areas'], macro.left_out):.2g} mm²",
    ]  # fmt: skip


def shares(macro: Macro, parts: Mapping[str, float], scale: float) -> list[str]:
    """Return a row of parts; those that are not counted are in brackets."""
    values = {name: f"{scale * value:.2g}" for name, value in parts.items()}
    return [macro.name, *(f"({value})" if name in macro.left_out else value for name, value in values.items())]


def gap(macro: Macro, found: Mapping[str, Any]) -> list[str]:
    """Return a row that quantifies what is missing, or too much: per operation, per output, and as a power of each
    output during a read."""
    difference = macro.femtojoules - per_operation(macro, found, macro.left_out)
    outputs, layers = sum(macro.layers[1:]), len(macro.layers) - 1
    joules = 1e-15 * difference * macro.operations / outputs
    watts = joules / (found["seconds"] / layers)
    each = {name: value for name, value in found["joules"].items() if name not in macro.left_out}
    largest = sorted(each, key=lambda name: -each[name])[:3]
    of_them = ", ".join(f"{name} {1e12 * each[name] / outputs:.2g} pJ" for name in largest)
    return [macro.name, f"{difference:+.3g} fJ", f"{1e12 * joules:+.3g} pJ", f"{1e6 * watts:+.3g} µW", of_them]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def keys(settings: Mapping[str, Any]) -> str:
    """Return settings as one line of text."""
    flat = (
        (f"{name}.{below}", inner)
        for name, value in settings.items()
        for below, inner in (value.items() if isinstance(value, dict) else [("", value)])
    )
    return ", ".join(f"`{name.rstrip('.')}={value}`" for name, value in flat)


def tables(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Return what the command writes to the page, from the predictions by name."""
    each = [(macro, found[macro.name]) for macro in MACROS]
    parts, areas = (list(each[0][1][kind]) for kind in ("joules", "areas"))
    head = (
        "macro",
        "published",
        "predicted, all parts",
        "counted parts",
        "counted / published",
        "area",
        "predicted area",
    )
    gaps = ("macro", "per operation", "per output", "power", "largest parts")
    described = [
        [one.name, one.published, keys(one.stated), keys(one.assumed), one.source] for one, _ in each
    ]  # fmt: skip
    return "\n\n".join([
        "Written by `python -m benchmarks.macros`.",
        "Energy per operation, and area. A multiply-accumulate is two operations:",
        table(head, [comparison(*one) for one in each]),
        "Parts, fJ per operation; those that the published number does not count are in brackets:",
        table(["macro", *parts], [shares(one, its["joules"], 1e15 / one.operations) for one, its in each]),
        "Parts of the area, mm²:",
        table(["macro", *areas], [shares(one, its["areas"], 1e6) for one, its in each]),
        "What is missing (+) or too much (-): per operation, per output of a vector, and as a power for each output "
        "during a read; beside the largest counted parts per output:",
        table(gaps, [gap(*one) for one in each]),
        "What is published, and how it was predicted:",
        table(["macro", "published", "keys from the source", "assumed", "source"], described),
    ])  # fmt: skip


def main() -> None:
    """Predict all macros, and write the results and the page."""
    found = {}
    for macro in MACROS:
        found[macro.name] = predicted(macro)
        print(" | ".join(comparison(macro, found[macro.name])), flush=True)
    write_text(RESULTS, json.dumps(found, indent=1) + "\n")
    write_page(found)


def write_page(found: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the tables of the page from the predictions by name."""
    written = f"<!-- macros -->\n\n{tables(found)}\n\n<!-- end of macros -->"
    write_text(PAGE, TABLE.sub(lambda _: written, PAGE.read_text()))


if __name__ == "__main__":
    main()
