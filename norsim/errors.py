"""norsim's exceptions, and the exit code of a command that ends with each.

    NorsimError
    ├── ConfigurationError         2   an invalid chip file, option or value
    │   ├── PlacementError         2   a layer or a weight that does not fit the array
    │   ├── UntrustedCellError     2   a cell or model file with content that is allowed only in trusted files
    │   └── DataError              2   an unreadable data set or weight file
    ├── SimulatorError             3   the simulator or the cluster is missing or unusable
    ├── SolveError                 4   a simulation ran, but its result failed a check
    │   └── SolveTimeoutError      4   a simulator did not finish within its time limit
    ├── WriteError                 4   a file or folder that cannot be written
    └── ThresholdError             5   a result missed the requested accuracy or tolerance

A message says what happened, what was expected, what to try, and which folder holds the files, if any.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NorsimError(Exception):
    """Base class of all errors that norsim raises; `exit_code` is that of a command that ends with it."""

    exit_code = 1


class ConfigurationError(NorsimError):
    """An invalid chip file, option or value."""

    exit_code = 2


class PlacementError(ConfigurationError):
    """A layer or a weight that does not fit the array."""


class UntrustedCellError(ConfigurationError):
    """A cell or model file has content that is allowed only in trusted files."""


class DataError(ConfigurationError):
    """An unreadable data set or weight file."""


class SimulatorError(NorsimError):
    """A simulator or cluster that is missing or unusable."""

    exit_code = 3


class SolveError(NorsimError):
    """A simulation whose result failed a check; none of its numbers is used.

    `kept`   folders with the decks and logs, which its message names
    """

    exit_code = 4
    kept: tuple[str, ...] = ()

    @property
    def reason(self) -> str:
        """The message without the folders."""
        return super().__str__()

    def __str__(self) -> str:
        return self.reason + "".join(f". The deck and the log are kept in {folder}" for folder in self.kept)


class SolveTimeoutError(SolveError):
    """A simulator did not finish within its time limit."""


class WriteError(NorsimError):
    """A file or folder that cannot be written: a full disk, a size limit, a missing permission."""

    exit_code = 4


class ThresholdError(NorsimError):
    """A finished result that missed the requested accuracy or tolerance."""

    exit_code = 5


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return the end of an error about an unknown `name`: the closest known name, if any is close, and all of them.

    The comparison ignores case. Example: "did you mean 'cifar10'? Known: digits, cifar10".
    """
    names = list(known)
    by_lower = {one.lower(): one for one in names}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1)
    listed = ", ".join(names) or "none"
    return f"did you mean {by_lower[close[0]]!r}? Known: {listed}" if close else f"known: {listed}"


def first_line(problem: BaseException) -> str:
    """Return the first line of an exception's message."""
    return str(problem).strip().partition("\n")[0]
