"""Features of an installed ngspice, probed by running it, not assumed from its version."""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from norsim.errors import SimulatorError
from norsim.spice.simulators.running import own_environment

PROBE = """* probe of features
V1 a 0 1
R1 a 0 1
.options klu
.control
op
osdi
echo norsim-probe-end
quit
.endc
.end
"""


@dataclass(frozen=True)
class Abilities:
    """Whether an ngspice has the KLU solver, and whether it can load OSDI (Verilog-A) models."""

    klu: bool
    osdi: bool


@lru_cache
def abilities(path: str) -> Abilities:
    """Probe the ngspice at `path`. Raises SimulatorError if it does not work."""
    with tempfile.TemporaryDirectory(prefix="norsim-probe-") as folder:
        (Path(folder) / "probe.cir").write_text(PROBE)
        try:
            ended = subprocess.run(
                [path, "-n", "-b", "probe.cir"],
                cwd=folder, env=own_environment(Path(folder)), stdin=subprocess.DEVNULL,
                capture_output=True, text=True, errors="replace", timeout=60, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as problem:
            raise SimulatorError(f"{path} does not run a one-resistor deck: {problem}") from None
    output = ended.stdout + ended.stderr
    if ended.returncode < 0 or "norsim-probe-end" not in output:
        raise SimulatorError(
            f"{path} does not run a one-resistor deck: it ended with code {ended.returncode} before the deck did. "
            "Reinstall ngspice"
        )
    return Abilities("using klu" in output.lower(), "osdi: no such command" not in output)
