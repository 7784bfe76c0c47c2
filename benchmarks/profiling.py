"""`python -m benchmarks.profiling --network NAME [further options of eval-network]`: where the time of a run goes.

It runs `norsim eval-network` in this process and writes for each phase its seconds, its seconds of CPU, and the
functions that took most of the time by themselves. Only one thread is used unless NUMBA_NUM_THREADS and OMP_NUM_THREADS
say otherwise, because the functions of other threads are not seen.
"""

from __future__ import annotations

import cProfile
import os
import pstats
import sys
import time
from io import StringIO
from pathlib import Path
from unittest import mock

from norsim.commands import main as norsim
from norsim.files import make_folder, write_text
from norsim.jobs.phases import Phases

OUT = Path("build/profile")
FUNCTIONS = 15


class ProfiledPhases(Phases):
    """Phases that are profiled, each by itself."""

    last: ProfiledPhases | None = None

    def __init__(self) -> None:
        super().__init__()
        ProfiledPhases.last = self
        self.cpu: dict[str, float] = {}
        self.profiles: dict[str, cProfile.Profile] = {}
        self._began = 0.0
        self.follow(self.switch)

    def switch(self, event: str, phase: str, seconds: float = 0.0) -> None:
        """Start or stop the profile of a phase."""
        profile = self.profiles.setdefault(phase, cProfile.Profile())
        if event == "phase":
            self._began = time.process_time()
            profile.enable()
        else:
            profile.disable()
            self.cpu[phase] = self.cpu.get(phase, 0.0) + time.process_time() - self._began


def report(found: ProfiledPhases) -> str:
    """Return the phases as a table, the longest first, then the functions of each."""
    order = sorted(found.seconds, key=lambda phase: -found.seconds[phase])
    lines = [f"{'phase':<14}{'seconds':>10}{'CPU':>10}"]
    lines += [f"{phase:<14}{found.seconds[phase]:>10.2f}{found.cpu[phase]:>10.2f}" for phase in order]
    lines.append(f"{'all':<14}{sum(found.seconds.values()):>10.2f}{sum(found.cpu.values()):>10.2f}")
    for phase in order:
        text = StringIO()
        stats = pstats.Stats(found.profiles[phase], stream=text)
        stats.sort_stats("tottime").print_stats(FUNCTIONS)
        # The table begins at its headings; what precedes it repeats the options.
        table = text.getvalue()[text.getvalue().index("   ncalls") :].rstrip()
        lines += ["", f"{phase}, seconds by function", table]
    return "\n".join(lines) + "\n"


def main(arguments: list[str], folder: Path = OUT) -> int:
    """Profile `norsim eval-network` with `arguments`; return its exit code."""
    words = ["norsim", "eval-network", *arguments, "--out", str(folder / "run"), "--overwrite"]
    code, ProfiledPhases.last = 0, None
    with mock.patch("norsim.commands.network.eval_network.Phases", ProfiledPhases), mock.patch("sys.argv", words):
        try:
            norsim()
        except SystemExit as ended:
            code = int(ended.code or 0)
    found = ProfiledPhases.last
    if found is None or not found.seconds:
        return code or 1
    make_folder(folder)
    write_text(folder / "phases.txt", report(found))
    print(f"{folder / 'phases.txt'} is written", file=sys.stderr)
    return code


if __name__ == "__main__":
    # The command imports numba and torch later.
    for variable in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    sys.exit(main(sys.argv[1:]))
