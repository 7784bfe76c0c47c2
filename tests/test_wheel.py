"""Installations from the wheel and the sdist contain the cells, chips, networks and templates, and work."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from norsim import paths
from tools import dist

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the wheel, built from the sdist, and the sdist, like `make dist`."""
    return dist.build(tmp_path_factory.mktemp("dist"), borrow=True)


def test_the_wheel_contains_cells_chips_networks_and_templates(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[0]) as archive:
        for name in (
            "netlists/cells/floating_gate.sp", "models/devices/etox65.lib", "models/chips/etox65.yaml",
            "models/networks/digits-cnn/weights.safetensors", "netlists/golden/bit-serial-4x5.cir",
        ):  # fmt: skip
            assert archive.read(f"norsim/{name}") == (ROOT / name).read_bytes()
        for name in ("report.html", "parts.html", "style.css"):
            template = f"norsim/report/templates/{name}"
            assert archive.read(template) == (ROOT / template).read_bytes()
        names = archive.namelist()
    assert "cli.py" not in names and not any(name.startswith("tests/") for name in names)
    there = {path.relative_to(ROOT).as_posix() for path in (ROOT / "norsim").rglob("*.py")}
    assert there == {name for name in names if name.startswith("norsim/") and name.endswith(".py")}


def test_the_sdist_contains_everything_for_an_installation(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "README.md", "setup.cfg", "pyproject.toml", "constraints.txt", "CITATION.cff"} <= names


@pytest.mark.soak
def test_an_installed_sdist_works(built: tuple[Path, Path], tmp_path: Path) -> None:
    """In an environment that uses this one's dependencies. `make dist` installs them, also tests the wheel, and uses
    macro, whose kernels are compiled in each environment."""
    programs = dist.install(built[1], tmp_path / "environment", borrow=True)
    found = dist.smoke(programs, ("ideal",))
    assert found["norsim"].startswith(str(tmp_path)) and not Path(paths.__file__).is_relative_to(tmp_path)
    assert found["doctor"]["one_cell_amps"] > 1e-7
    assert found["ideal"]["images"] == 2 and 0 <= found["ideal"]["accuracy"] <= 1


def test_cli_py_runs_from_a_checkout() -> None:
    ended = subprocess.run([sys.executable, "cli.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "eval-network" in ended.stdout
