"""Builds the wheel and the sdist, installs each in its own environment, and runs it there: `make dist`.

    python tools/dist.py [--borrow] [FOLDER]

writes them to FOLDER, `dist` by default. With `--borrow` the environments use the dependencies of the running one,
without downloads; otherwise the pinned versions are installed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# Largest error of the smoke test's proof, in full scale.
TOLERANCE = "1e-4"
SMOKE = ("eval-network", "--network", "digits-cnn", "--images", "2", "--json", "--quiet", "--no-cache")


def tracked(place: Path) -> None:
    """Copy the files that git tracks, with uncommitted changes, to `place`, so that builds leave no files behind."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, place / name)


def build(folder: Path, borrow: bool) -> tuple[Path, Path]:
    """Build the sdist, and the wheel from it, in `folder`; return wheel and sdist."""
    with tempfile.TemporaryDirectory() as place, tempfile.TemporaryDirectory() as empty:
        tracked(Path(place))
        rest = ["--no-isolation"] if borrow else []
        # In an empty folder first, because `folder` may hold archives of other versions.
        run([sys.executable, "-m", "build", *rest, "--outdir", empty, place])
        (wheel,), (sdist,) = Path(empty).glob("norsim-*.whl"), Path(empty).glob("norsim-*.tar.gz")
        folder.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy2(wheel, folder)), Path(shutil.copy2(sdist, folder))


def install(archive: Path, place: Path, borrow: bool) -> Path:
    """Create an environment in `place` with `archive` and its dependencies; return its folder of programs."""
    run([sys.executable, "-m", "venv", "--without-pip", str(place)])
    python = place / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--disable-pip-version-check"]
    if borrow:
        site = next(place.glob("lib/python*/site-packages"))
        (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
        # The borrowed environment may have a norsim too, which must not change.
        run([*pip, "--no-index", "--no-deps", "--ignore-installed", "--no-build-isolation", str(archive)])
    else:
        run([*pip, "-c", str(ROOT / "constraints.txt"), str(archive)])
    return place / "bin"


def smoke(programs: Path, backends: Sequence[str] = ("ideal", "macro")) -> dict[str, Any]:
    """Run the installed norsim: its location, `doctor`, and two images with each backend."""
    with tempfile.TemporaryDirectory() as place:

        def said(*words: str) -> Any:
            return json.loads(run([str(programs / "norsim"), *words], place))

        where = run([str(programs / "python"), "-c", "import norsim; print(norsim.__file__)"], place)
        found = {"norsim": where.strip(), "doctor": said("doctor", "--json")}
        for backend in backends:
            proof = ["--tolerance", TOLERANCE, "--spice-sample", "2"] if backend == "macro" else []
            found[backend] = said(*SMOKE, "--backend", backend, *proof, "--out", backend)
    if not found["norsim"].startswith(str(programs.parent)):
        raise SystemExit(f"the norsim that ran is {found['norsim']}, not that of {programs.parent}")
    return found


def run(words: list[str], place: str | Path = ROOT) -> str:
    """Return a program's output; exit with all its output if it fails."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    ended = subprocess.run(words, cwd=place, env=environment, capture_output=True, text=True)
    if ended.returncode:
        raise SystemExit(f"{' '.join(words)}\n{ended.stdout}{ended.stderr}")
    return ended.stdout


def main() -> None:
    """Build, install and run both archives."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "dist")
    parser.add_argument("--borrow", action="store_true", help="take dependencies from the running environment")
    options = parser.parse_args()
    for archive in build(options.folder, options.borrow):
        with tempfile.TemporaryDirectory() as place:
            found = smoke(install(archive, Path(place), options.borrow))
        print(f"{archive}: {found['doctor']['simulator']}, macro {found['macro']['accuracy']:g} on 2 images")


if __name__ == "__main__":
    main()
