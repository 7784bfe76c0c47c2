"""`python -m fuzz.one TARGET [atheris options] CORPUS`: one target under atheris, which ends the process."""

from __future__ import annotations

import contextlib
import sys

import atheris

# Before anything of norsim is imported, or its branches would not be seen.
with atheris.instrument_imports(include=["norsim"]):
    from fuzz.targets import TARGETS
from norsim.errors import NorsimError


def main(name: str, options: list[str]) -> None:
    """Hand the target to atheris."""

    def once(content: bytes) -> None:
        with contextlib.suppress(NorsimError):
            TARGETS[name].read(content)

    atheris.Setup(["fuzz.one", *options], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
