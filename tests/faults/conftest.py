"""Commands run in this process, as in tests/commands."""

from tests.commands.conftest import norsim

__all__ = ["norsim"]
