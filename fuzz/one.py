"""`python -m fuzz.one TARGET [atheris options] CORPUS`: one target under atheris, which ends the process."""

from __future__ import annotations

import contextlib
import sys

import atheris

# Must come before any import of norsim, or its branches are not instrumented.
with atheris.instrument_imports(include=["norsim"]):
    from fuzz.targets import TARGETS
from norsim.errors import NorsimError


def main(name: str, options: list[str]) -> None:
    """Run the target under atheris."""

    def once(content: bytes) -> None:
        with contextlib.suppress(NorsimError):
            TARGETS[name].read(content)

    atheris.Setup(["fuzz.one", *options], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
