"""`python -m fuzz [--runs N] [--targets NAME ...]`: N inputs to the readers of `fuzz.targets`, guided by coverage.

Each target is run by atheris in a separate process. An input that makes a reader raise anything except a NorsimError,
hang for 20 seconds or leave a file behind is kept as fuzz/findings/TARGET-..., and the exit code is 1.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from fuzz.targets import TARGETS

FINDINGS = Path(__file__).parent / "findings"
RUNS = 100_000
LIMITS = ("-timeout=20", "-rss_limit_mb=4096", "-verbosity=0")


def main() -> int:
    """Fuzz the chosen targets; return 0 if there are no findings."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help="number of inputs, divided evenly between targets")
    parser.add_argument("--seed", type=int, default=1, help="seed of the mutations")
    parser.add_argument("--targets", nargs="*", choices=list(TARGETS), default=list(TARGETS))
    chosen = parser.parse_args()
    if find_spec("atheris") is None:
        parser.error("atheris is missing: run `make fuzz`, which installs it, or pip install atheris")
    each = -(-chosen.runs // len(chosen.targets))
    failed = [name for name in chosen.targets if run(name, each, chosen.seed)]
    print(f"{each * len(chosen.targets)} inputs; findings: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


def run(name: str, runs: int, seed: int) -> int:
    """Give `runs` inputs to one target in a process; return its exit code."""
    FINDINGS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as corpus:
        for number, content in enumerate(TARGETS[name].seeds()):
            (Path(corpus) / str(number)).write_bytes(content)
        options = [f"-runs={runs}", f"-seed={seed}", *LIMITS, f"-artifact_prefix={FINDINGS / name}-", corpus]
        ended = subprocess.run([sys.executable, "-m", "fuzz.one", name, *options], check=False, capture_output=True)
    if ended.returncode:
        print(ended.stderr.decode(errors="replace")[-3000:])
    print(f"{name}: {runs} inputs, {'a finding' if ended.returncode else 'nothing found'}", flush=True)
    return ended.returncode


if __name__ == "__main__":
    sys.exit(main())
