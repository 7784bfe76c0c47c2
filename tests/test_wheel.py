"""What pip installs from a built wheel has the cells, chips, networks and templates inside."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the unpacked wheel, built from a copy so that no build folder is left in the checkout."""
    copy = tmp_path_factory.mktemp("source")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, tracked.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", "wheel", "."]
    subprocess.run(build, cwd=copy, check=True, capture_output=True)
    (wheel,) = (copy / "wheel").glob("norsim-*.whl")
    target = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def test_cells_chips_networks_and_templates_travel_with_the_wheel(installed: Path) -> None:
    for name in (
        "netlists/cells/floating_gate.sp", "models/devices/etox65.lib", "models/chips/etox65.yaml",
        "models/networks/digits-cnn/weights.safetensors", "netlists/golden/bit-serial-4x5.cir",
    ):  # fmt: skip
        assert (installed / "norsim" / name).read_bytes() == (ROOT / name).read_bytes()
    for name in ("report.html", "parts.html", "style.css"):
        template = Path("norsim", "report", "templates", name)
        assert (installed / template).read_bytes() == (ROOT / template).read_bytes()
    assert not (installed / "cli.py").exists()


def test_the_installed_package_builds_a_deck(installed: Path, tmp_path: Path) -> None:
    line = "from norsim.commands import main; main()"
    arguments = ["build-netlist", "--network", "digits-cnn", "--layer", "conv1", "--vectors", "1", "--out", "deck"]
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    subprocess.run([sys.executable, "-c", line, *arguments], cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "deck" / "tile.cir").exists()
    where = "import norsim; print(norsim.__file__)"
    said = subprocess.run([sys.executable, "-c", where], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert str(installed) in said.stdout


def test_cli_py_runs_from_a_checkout() -> None:
    said = subprocess.run([sys.executable, "cli.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "eval-network" in said.stdout
