"""What can go wrong, and the exit code each kind ends a command with.

    NorsimError
    ├── ConfigurationError   2   a chip file, an option or a value that norsim cannot use
    │   ├── PlacementError   2   a layer, or a weight, that does not fit the array
    │   └── DataError        2   a data set or a weight file that cannot be read
    ├── SimulatorError       3   the simulator, or the cluster that should run it, is missing or unusable
    ├── SolveError           4   a simulation ran, and its result cannot be trusted
    │   └── SolveTimeoutError 4  a simulator did not finish within its time limit
    └── ThresholdError       5   a result missed the accuracy or the tolerance that was asked for

A message says what happened, what was expected, what to try and, where there is one, which folder
holds the evidence.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NorsimError(Exception):
    """Base of every error that norsim raises on purpose; `exit_code` is what a command ends with."""

    exit_code = 1


class ConfigurationError(NorsimError):
    """A chip file, an option or a value that norsim cannot use."""

    exit_code = 2


class PlacementError(ConfigurationError):
    """A layer, or one of its weights, does not fit the array."""


class DataError(ConfigurationError):
    """A data set or a weight file cannot be read."""


class SimulatorError(NorsimError):
    """The simulator, or the cluster that should run it, is missing or cannot be used."""

    exit_code = 3


class SolveError(NorsimError):
    """A simulation ended, but its result fails a check; no number of it is used."""

    exit_code = 4


class SolveTimeoutError(SolveError):
    """A simulator did not finish within its time limit."""


class ThresholdError(NorsimError):
    """A finished result misses the accuracy or the tolerance that was asked for."""

    exit_code = 5


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return the end of an error about an unknown `name`: the closest known name, if one is close, and all of them.

    Capital and small letters count as the same: "did you mean 'cifar10'? Known: digits, cifar10".
    """
    names = list(known)
    by_lower = {one.lower(): one for one in names}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1)
    listed = ", ".join(names) or "none"
    return f"did you mean {by_lower[close[0]]!r}? Known: {listed}" if close else f"known: {listed}"
