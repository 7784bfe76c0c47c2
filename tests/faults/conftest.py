"""The fixture that runs commands in this process."""

from tests.commands.conftest import norsim

__all__ = ["norsim"]
