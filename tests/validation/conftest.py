"""The fixture of commands."""

from tests.commands.conftest import norsim

__all__ = ["norsim"]
