"""Write docs/peers.md, and what was measured to `benchmarks/peers/results.json`.

Each package runs in a Python of its own; one that is not given is left out, and the page says so. CONTRIBUTING.md says
how to install them."""

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
from norsim.array.tile import Floats
from norsim.chip.load import load_chip
from norsim.files import write_text
from norsim.jobs.machine import processor
from norsim.spice.simulators import ngspice

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).with_name("results.json")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.peers", description="Compare norsim with other packages.")
    made.add_argument("--data", type=Path, help="folder of CIFAR-10")
    made.add_argument("--aihwkit-python", type=Path, help="a Python with aihwkit")
    made.add_argument("--aihwkit-source", type=Path, help="the folder src of its source, if it is not installed there")
    made.add_argument("--lightning-python", type=Path, help="a Python with aihwkit-lightning")
    made.add_argument("--crosssim", type=Path, help="the folder of a checkout of CrossSim")
    made.add_argument("--crosssim-python", type=Path, help="a Python with torch for CrossSim; by default this one")
    made.add_argument("--page", action="store_true", help="measure nothing; write the page of the last results")
    made.add_argument("--keep", action="store_true", help="keep what the last run measured and measure what is given")
    made.add_argument("--reason", help="why a package is left out; the page says it")
    made.add_argument("--images", type=int, default=job.FULL.images, help="images")
    made.add_argument("--wired-images", type=int, default=job.FULL.wired_images, help="images for CrossSim with wires")
    return made


def run_package(
    name: str, python: Path, folder: Path, path: Path | None = None
) -> tuple[dict[str, Any], dict[str, Floats]]:
    """Run a package's script on a job, and return what it wrote: versions and networks, and currents of tiles."""
    paths = [str(ROOT), *([str(path.resolve())] if path else [])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    # The path as given: the target of its link does not know its packages.
    command = [os.path.abspath(python), "-m", f"benchmarks.peers.in_{name}", str(folder), str(folder / name)]
    subprocess.run(command, check=True, cwd=ROOT, env=environment)
    found: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    tiles = np.load(folder / f"{name}.npz")
    return found, {key: tiles[key] for key in tiles.files}


def say(what: str) -> None:
    """Report progress on stderr."""
    print(what, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Measure, and write the results and the page."""
    given = parser().parse_args(arguments)
    if given.page:
        write_text(page.PAGE, page.page(json.loads(RESULTS.read_text())))
        return
    plan = job.Plan(given.images, given.wired_images, job.FULL.tiles, job.FULL.reads, job.FULL.chips)
    this = Path(sys.executable)
    pythons = {
        "aihwkit": given.aihwkit_python, "lightning": given.lightning_python,
        "crosssim": (given.crosssim_python or this) if given.crosssim else None,
    }  # fmt: skip
    if not any(pythons.values()):
        parser().error("name at least one package: --aihwkit-python, --lightning-python or --crosssim")
    found = fresh(plan)
    if given.keep:
        kept = json.loads(RESULTS.read_text())
        # The number of images of a package alone may change.
        kept["plan"]["wired_images"] = plan.wired_images
        if any(kept[key] != found[key] for key in ("plan", "constants", "machine", "versions")):
            sys.exit("--keep: the results are those of another plan, chip, machine or version; measure all again")
        found = kept
    with tempfile.TemporaryDirectory(prefix="norsim-peers-") as place:
        # Without what earlier runs have kept.
        os.environ["XDG_CACHE_HOME"] = f"{place}/caches"
        folder = Path(place)
        job.write_job(folder, plan, given.data)
        if not given.keep:
            found |= {"tiles": job.tile_results(plan, say), "norsim": job.network_results(plan, given.data, say)}
        for name, python in pythons.items():
            if python is not None:
                say(page.TITLES[name])
                path = {"crosssim": given.crosssim, "aihwkit": given.aihwkit_source}.get(name)
                found["packages"][name], currents = run_package(name, python, folder, path)
                job.add_package(found["tiles"], name, currents)
                write(found, given.reason)


def fresh(plan: job.Plan) -> dict[str, Any]:
    """Return what determines results, without any."""
    return {
        "plan": json.loads(json.dumps(asdict(plan))), "constants": job.constants(load_chip(plan.chips[0])),
        "packages": {},
        "machine": f"{processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "versions": f"{version('norsim')}, Python {platform.python_version()}, torch {version('torch')}, "
        f"{ngspice.version_line(ngspice.find_ngspice())}",
    }  # fmt: skip


def write(found: dict[str, Any], reason: str | None) -> None:
    """Write the results and the page, with the reason why packages are missing."""
    found["missing"] = {name: reason or "it was not given." for name in page.TITLES if name not in found["packages"]}
    write_text(RESULTS, json.dumps(found) + "\n")
    write_text(page.PAGE, page.page(found))


if __name__ == "__main__":
    main()
