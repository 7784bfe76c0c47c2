"""A network of the user's own: what a function of a Python file returns, named as FILE.py:FUNCTION."""

from __future__ import annotations

from torch import nn

from norsim.errors import ConfigurationError
from norsim.user_code import call_code


def build_own(reference: str) -> nn.Module:
    """What the function returns, called without arguments. The file is executed: it must be trusted.

    Raises DataError where there is no such file, ConfigurationError where it fails, has no such function, or that
    gives no torch.nn.Module.
    """
    found = call_code(reference)
    if not isinstance(found, nn.Module):
        raise ConfigurationError(f"{reference} returned {type(found).__name__}; expected a torch.nn.Module")
    return found
