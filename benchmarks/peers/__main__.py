"""Write docs/peers.md, and what was measured to `benchmarks/peers/results.json`.

    python -m benchmarks.peers --data CIFAR10 --aihwkit-python PATH --lightning-python PATH --crosssim FOLDER

Each package runs in a Python of its own; one that is not given is left out, and the page says so."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import job, page
from norsim.chip.load import load_chip
from norsim.files import write_text
from norsim.jobs.machine import processor
from norsim.spice.simulators import ngspice

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).with_name("results.json")
COMMAND = (
    "python -m benchmarks.peers --data CIFAR10 --aihwkit-python PATH --lightning-python PATH --crosssim FOLDER "
    "--crosssim-python PATH"
)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.peers", description="Compare norsim with other packages.")
    made.add_argument("--data", type=Path, help="folder of CIFAR-10")
    made.add_argument("--aihwkit-python", type=Path, help="a Python with aihwkit")
    made.add_argument("--lightning-python", type=Path, help="a Python with aihwkit-lightning")
    made.add_argument("--crosssim", type=Path, help="the folder of a checkout of CrossSim")
    made.add_argument("--crosssim-python", type=Path, help="a Python with torch for CrossSim; by default this one")
    made.add_argument("--images", type=int, default=job.FULL.images, help="images")
    made.add_argument("--wired-images", type=int, default=job.FULL.wired_images, help="images for CrossSim with wires")
    return made


def run_package(name: str, python: Path, folder: Path, path: Path | None = None) -> dict[str, Any]:
    """Run a package's script on a job, and return what it wrote."""
    paths = [str(ROOT), *([str(path.resolve())] if path else [])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    # The path as given: the target of its link does not know its packages.
    command = [os.path.abspath(python), "-m", f"benchmarks.peers.in_{name}", str(folder), str(folder / name)]
    subprocess.run(command, check=True, cwd=ROOT, env=environment)
    found: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    tiles = np.load(folder / f"{name}.npz")
    return {**found, "tiles": {key: tiles[key].tolist() for key in tiles.files}}


def say(what: str) -> None:
    """Report progress on stderr."""
    print(what, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Measure, and write the results and the page."""
    given = parser().parse_args(arguments)
    plan = job.Plan(given.images, given.wired_images, job.FULL.tiles, job.FULL.reads, job.FULL.chips)
    this = Path(sys.executable)
    pythons = {
        "aihwkit": given.aihwkit_python, "lightning": given.lightning_python,
        "crosssim": (given.crosssim_python or this) if given.crosssim else None,
    }  # fmt: skip
    packages, missing = {}, {}
    with tempfile.TemporaryDirectory(prefix="norsim-peers-") as place:
        # Without what earlier runs have kept.
        os.environ["XDG_CACHE_HOME"] = f"{place}/caches"
        folder = Path(place)
        job.write_job(folder, plan, given.data)
        for name, python in pythons.items():
            if python is None:
                missing[name] = "it was not given."
                continue
            say(page.TITLES[name])
            packages[name] = run_package(name, python, folder, given.crosssim if name == "crosssim" else None)
        found = {
            "plan": asdict(plan), "constants": job.constants(load_chip(plan.chips[0])), "command": COMMAND,
            "packages": packages, "missing": missing, "norsim": job.network_results(plan, given.data, say),
            "tiles": job.tile_results(plan, say),
            "machine": f"{processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
            "versions": f"{version('norsim')}, Python {platform.python_version()}, torch {version('torch')}, "
            f"{ngspice.version_line(ngspice.find_ngspice())}",
        }  # fmt: skip
    write_text(RESULTS, json.dumps(found) + "\n")
    write_text(page.PAGE, page.page(found))


if __name__ == "__main__":
    main()
