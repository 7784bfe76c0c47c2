"""Check style and types, and run the fast tests of what changed: `make quick`, at most two minutes on two cores.

    python tools/quick_tests.py

A file has changed if it differs from the commit at which HEAD left the main branch, or is not tracked. Its tests are
those of the folder with the same name below tests/, without tests marked as slow or soak, and the tests of the whole
tree in tests/test_*.py. If nothing has changed, the tests of CORE run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MAIN_BRANCHES = ("origin/main", "origin/master", "main", "master")
CORE = ("tests/array", "tests/periphery", "tests/quantization", "tests/tiling", "tests/chip", "tests/jobs")
# Where the tests are of folders that have none of the same name.
ELSEWHERE = {
    "norsim/evaluation": ("tests/evaluation", "tests/api"),
    "norsim/cell_check": ("tests/commands/test_cell.py",),
    "norsim/experiments": ("tests/api", "tests/commands"),
    "fuzz": ("tests/test_fuzz.py",),
    "models": ("tests/chip", "tests/saved"),
    "netlists": ("tests/chip", "tests/spice"),
}
# After this many seconds the remaining tests are skipped.
LIMIT_SECONDS = 90


def git(*words: str) -> list[str]:
    """Return the lines of a git command's output; none for a `merge-base` of branches that do not exist.

    Exits with the reason if git fails otherwise, because it is then not known what changed.
    """
    try:
        ended = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError as problem:
        raise SystemExit(f"git does not run ({problem}), so it is not known what changed") from None
    if ended.returncode and words[0] != "merge-base":
        raise SystemExit(f"git {words[0]} failed, so it is not known what changed: {ended.stderr.strip()}")
    return ended.stdout.splitlines() if ended.returncode == 0 else []


def changed() -> list[str]:
    """Return the paths of changed and untracked files, relative to the root of the checkout."""
    bases = (git("merge-base", "HEAD", branch) for branch in MAIN_BRANCHES)
    (base,) = next((found for found in bases if found), ["HEAD"])
    return [*git("diff", "--name-only", base), *git("ls-files", "--others", "--exclude-standard")]


def tests_of(name: str) -> Iterable[str]:
    """Return the test files and folders for a changed file."""
    path = Path(name)
    folder = "/".join(path.parts[:2]) if path.parts[0] == "norsim" else path.parts[0]
    if folder == "tests":
        inside = len(path.parts) > 2
        return (name,) if path.name.startswith("test_") else (path.parent.as_posix(),) if inside else CORE
    if path.suffix == ".md":
        return ("tests/docs",)
    return ELSEWHERE.get(folder, (f"tests/{folder.removeprefix('norsim/')}",))


def chosen(names: Iterable[str]) -> list[str]:
    """Return the existing test files and folders for changed files, and the tests of the whole tree."""
    found = {test for name in names for test in tests_of(name)} or set(CORE)
    everywhere = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").glob("test_*.py")}
    return sorted(test for test in found | everywhere if (ROOT / test).exists())


def main() -> int:
    """Run all checks and tests, and return 0 if they pass."""
    programs = Path(sys.executable).parent
    tests = chosen(changed())
    print(f"tests of what changed: {' '.join(tests)}", flush=True)
    pytest = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "worksteal", "-m", "not slow and not soak"]
    environment = {**os.environ, "NORSIM_TEST_SECONDS": str(LIMIT_SECONDS)}
    codes = [
        subprocess.run([str(word) for word in words], cwd=ROOT, env=environment, check=False).returncode
        for words in (
            [programs / "ruff", "check", "."], [programs / "ruff", "format", "--check", "."], [programs / "mypy"],
            [*pytest, *tests],
        )
    ]  # fmt: skip
    # A check that a signal ended has a negative code.
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main())
