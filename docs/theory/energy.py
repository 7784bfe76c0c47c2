"""Evaluate the energy of ResNet-20 on the preset chip, and write the table of `energy.md`.

    python docs/theory/energy.py FOLDER      with CIFAR-10 in FOLDER

Energy and time depend on the calibration's images, not on the images that are classified, so there are few of these.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

PAGE = Path(__file__).with_suffix(".md")
TABLE = re.compile(r"<!-- table -->\n.*?<!-- end of table -->", re.DOTALL)
HEAD = (
    "| chip | energy | cells | lines | converters | TOPS/W | latency | number of converters "
    "| whole chip | TOPS/W | area |\n|---|---|---|---|---|---|---|---|---|---|---|"
)
# What is set on the preset chip, in the order of the rows.
CHIPS: tuple[tuple[str, ...], ...] = (
    (),
    ("adc.shared_by=8",),
    ("adc.shared_by=8", "cost.held=true"),
    ("encoding=linear-pair",),
)


def measured(chip: tuple[str, ...], data: Path) -> dict[str, Any]:
    """Return `energy` of the summary that `norsim eval-network` writes."""
    with TemporaryDirectory() as folder:
        command = [
            sys.executable, "-c", "from norsim.commands import main; main()", "eval-network", "--network", "resnet20",
            "--dataset", "cifar10", "--data", str(data), "--images", "4", "--spice-sample", "0", "--json",
            "--out", f"{folder}/run", *(word for setting in chip for word in ("--set", setting)),
        ]  # fmt: skip
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    energy: dict[str, Any] = json.loads(done.stdout)["energy"]
    return energy


def row(chip: tuple[str, ...], energy: dict[str, Any]) -> str:
    """Return a line of the table."""
    name = ", ".join(f"`{setting}`" for setting in chip) or "`etox65`"
    joules = [1e9 * energy[f"{part}joules_image"] for part in ("", "cells_", "lines_", "converters_")]
    values = [f"{value:.4g} nJ" for value in joules]
    values += [f"{energy['tops_per_watt']:.3g}", f"{1e3 * energy['latency_seconds']:.3g} ms", str(energy["converters"])]
    chip = energy["chip"]
    values += [f"{1e9 * chip['joules_image']:.4g} nJ", f"{chip['tops_per_watt']:.3g}"]
    values += [f"{1e6 * chip['square_metres']:.3g} mm²"]
    return f"| {' | '.join([name, *values])} |"


def table(data: Path) -> str:
    """Return the table."""
    return "\n".join([HEAD, *(row(chip, measured(chip, data)) for chip in CHIPS)])


def shown() -> str:
    """Return the table on the page."""
    found = TABLE.search(PAGE.read_text())
    assert found, f"{PAGE} has no table"
    return found[0].removeprefix("<!-- table -->\n").removesuffix("<!-- end of table -->").strip()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python docs/theory/energy.py FOLDER, with CIFAR-10 in FOLDER")
    written = f"<!-- table -->\n\n{table(Path(sys.argv[1]))}\n\n<!-- end of table -->"
    PAGE.write_text(TABLE.sub(lambda _: written, PAGE.read_text()))
