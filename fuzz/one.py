"""`python -m fuzz.one TARGET [atheris options] CORPUS`: one target under atheris, which ends the process."""

from __future__ import annotations

import sys

import atheris

# Must come before any import of norsim, or its branches are not instrumented.
with atheris.instrument_imports(include=["norsim"]):
    from fuzz.targets import TARGETS
from norsim.errors import NorsimError, SimulatorError, WriteError


def main(name: str, options: list[str]) -> None:
    """Run the target under atheris. An unusable simulator or a full disk is no answer of a reader, but an error."""

    def once(content: bytes) -> None:
        try:
            TARGETS[name].read(content)
        except (SimulatorError, WriteError):
            raise
        except NorsimError:
            pass

    atheris.Setup(["fuzz.one", *options], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
