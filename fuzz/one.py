"""`python -m fuzz.one TARGET [atheris options] CORPUS`: one target under atheris, which ends the process."""

from __future__ import annotations

import sys
from collections import Counter

import atheris

# Must come before any import of norsim, or its branches are not instrumented.
with atheris.instrument_imports(include=["norsim"]):
    from fuzz.targets import TARGETS
from fuzz.choices import NoAnswerError
from norsim.errors import NorsimError, SimulatorError, WriteError

# The share of inputs, and a number in addition, for which the program to compare with may give no answer.
UNANSWERED, FIRST = 0.02, 20


def main(name: str, options: list[str]) -> None:
    """Run the target under atheris. An unusable simulator, a full disk, and a program to compare with that often gives
    no answer, are no answers of a reader, but errors."""
    counts = Counter[str]()

    def once(content: bytes) -> None:
        counts["inputs"] += 1
        try:
            TARGETS[name].read(content)
        except (SimulatorError, WriteError):
            raise
        except NoAnswerError:
            counts["unanswered"] += 1
            if counts["unanswered"] > UNANSWERED * counts["inputs"] + FIRST:
                raise
        except NorsimError:
            pass

    atheris.Setup(["fuzz.one", *options], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
