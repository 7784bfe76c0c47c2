"""The supported versions of Python, and the pinned dependencies of each."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from collections import Counter
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
VERSIONS = ("3.10", "3.11", "3.12", "3.13")
# The patch version of 3.11 is that of Debian 12, which the README's installation may use.
PATCHES = {"3.10": "3.10.13", "3.11": "3.11.2", "3.12": "3.12.1", "3.13": "3.13.0"}


def setup() -> configparser.ConfigParser:
    found = configparser.ConfigParser()
    found.read(ROOT / "setup.cfg")
    return found


def is_for(one: Requirement, version: str) -> bool:
    """Return whether a requirement applies to a version of Python."""
    python = {"python_version": version, "python_full_version": PATCHES[version]}
    return one.marker is None or one.marker.evaluate(python)


def pins(version: str) -> Counter[str]:
    """Return how often each package is pinned for a version of Python."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    found = [Requirement(line) for line in lines]
    assert all(len(one.specifier) == 1 and str(one.specifier).startswith("==") for one in found)
    return Counter(canonicalize_name(one.name) for one in found if is_for(one, version))


def test_the_versions_agree_with_the_classifiers() -> None:
    metadata = setup()
    named = re.findall(r"Python :: (3\.\d+)", metadata["metadata"]["classifiers"])
    assert tuple(named) == VERSIONS
    assert VERSIONS[0] in SpecifierSet(metadata["options"]["python_requires"])
    assert "3.9" not in SpecifierSet(metadata["options"]["python_requires"])
    assert 'target-version = "py310"' in (ROOT / "ruff.toml").read_text()


@pytest.mark.parametrize("version", VERSIONS)
def test_each_dependency_has_one_pin(version: str) -> None:
    metadata, pinned = setup(), pins(version)
    assert [name for name, count in pinned.items() if count > 1] == []
    parts = [metadata["options"]["install_requires"], *metadata["options.extras_require"].values()]
    for line in filter(None, (line.strip() for part in parts for line in part.splitlines())):
        if is_for(Requirement(line), version):
            assert canonicalize_name(Requirement(line).name) in pinned, line


@pytest.mark.parametrize("version", VERSIONS)
def test_pinned_packages_support_the_version(version: str) -> None:
    """Checks the metadata of installed packages, if the installed version is the pinned one."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    seen = 0
    for one in filter(lambda one: is_for(one, version), map(Requirement, lines)):
        try:
            found = distribution(one.name)
        except PackageNotFoundError:
            continue
        needed = found.metadata.get("Requires-Python")
        if found.version in one.specifier and needed:
            assert PATCHES[version] in SpecifierSet(needed), one
            seen += 1
    assert seen > 40


def too_new(*words: str) -> str:
    """Return what vermin finds that the oldest version lacks; `make check` runs it on norsim."""
    line = "from vermin import main; main()"
    options = ["--quiet", "--no-tips", f"--target={VERSIONS[0]}-", "--violations", *words]
    ended = subprocess.run([sys.executable, "-c", line, *options], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode in (0, 1) and not ended.stderr, ended.stderr
    return ended.stdout if ended.returncode else ""


def test_nothing_newer_than_the_oldest_version_is_used(tmp_path: Path) -> None:
    assert too_new("norsim") == ""
    (tmp_path / "new.py").write_text("from typing import Self\n")
    assert "3.11" in too_new(str(tmp_path))
