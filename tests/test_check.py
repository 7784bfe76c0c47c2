"""The checks of a commit: hooks equal `make check`, mypy is strict, and the import contract covers all modules."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from setuptools import find_packages

ROOT = Path(__file__).resolve().parents[1]
HOOKS = ROOT / ".pre-commit-config.yaml"


@pytest.fixture(scope="module")
def setup() -> configparser.ConfigParser:
    """Return the content of setup.cfg."""
    found = configparser.ConfigParser()
    found.read(ROOT / "setup.cfg")
    return found


def hooks() -> list[dict[str, Any]]:
    (local,) = yaml.safe_load(HOOKS.read_text())["repos"]
    assert local["repo"] == "local"
    found: list[dict[str, Any]] = local["hooks"]
    return found


def recipe(target: str) -> list[str]:
    """Return the lines of a target of the Makefile."""
    text = (ROOT / "Makefile").read_text()
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", text, re.MULTILINE)
    assert found is not None
    return [line.strip().replace("$(BIN)", ".venv/bin") for line in found[1].splitlines()]


def test_the_hooks_equal_make_check() -> None:
    assert [hook["entry"] for hook in hooks()] == recipe("check")
    # They are local, run on the whole checkout, and fetch nothing.
    assert all(hook["language"] == "system" and hook["pass_filenames"] is False for hook in hooks())


def test_the_configuration_of_the_hooks_is_valid() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "pre_commit", "validate-config", str(HOOKS)], capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize("path", ["norsim/chip/model.py", "tests/conftest.py"])
def test_each_hook_runs_on_python_files(path: str) -> None:
    for hook in hooks():
        assert hook.get("types") == ["python"] or re.search(hook["files"], path), hook["id"]


def test_mypy_is_strict_for_all_of_norsim(setup: configparser.ConfigParser) -> None:
    assert setup["mypy"]["files"] == "norsim, results, tests/api/user_calls.py" and setup["mypy"].getboolean("strict")
    # Only modules with compiled kernels have exceptions, and only for decorators and calls of numba.
    own = {name: dict(setup[name]) for name in setup.sections() if name.startswith("mypy-norsim")}
    assert all(set(rest) <= {"disallow_untyped_decorators", "disallow_untyped_calls"} for rest in own.values())
    ignored = [path for path in (ROOT / "norsim").rglob("*.py") if "mypy: ignore-errors" in path.read_text()]
    assert ignored == []


def test_the_import_contract_covers_every_module(setup: configparser.ConfigParser) -> None:
    layers = re.findall(r"norsim\.(\w+)", setup["importlinter:contract:layers"]["layers"])
    there = {path.stem for path in (ROOT / "norsim").glob("*.py")} - {"__init__"}
    there |= {path.parent.name for path in (ROOT / "norsim").glob("*/__init__.py")}
    assert sorted(layers) == sorted(there)


def test_every_package_is_installed(setup: configparser.ConfigParser) -> None:
    listed = setup["options"]["packages"].split()
    there = ["norsim", *(f"norsim.{name}" for name in find_packages(str(ROOT / "norsim")))]
    assert sorted(listed) == sorted([*there, "norsim.netlists", "norsim.models"])
