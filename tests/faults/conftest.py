"""The fixture that runs commands in this process."""

from tests.commands.conftest import norsim, simulator

__all__ = ["norsim", "simulator"]
