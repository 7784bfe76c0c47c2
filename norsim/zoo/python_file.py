"""User-supplied networks: a function in a Python file, named FILE.py:FUNCTION, that returns a torch.nn.Module."""

from __future__ import annotations

from torch import nn

from norsim.errors import ConfigurationError
from norsim.quantization.copies import independent_copy
from norsim.user_code import call_code, once


def build_user_network(reference: str) -> nn.Module:
    """Call the function without arguments, once in a process, and return a copy of the network that it returned,
    in eval mode.

    All copies have what its state dict lacks, such as random buffers and attributes. The file is executed, so it must
    be trusted. Raises DataError if there is no such file, ConfigurationError if it fails, has no such function or
    returns something else.
    """
    found = once(reference, "network", lambda: call_code(reference))
    if not isinstance(found, nn.Module):
        raise ConfigurationError(f"{reference} returned {type(found).__name__}; expected a torch.nn.Module")
    return independent_copy(found)
