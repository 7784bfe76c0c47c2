"""Keys of chip files that have another name now; an old key is an error that names the new one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from norsim.errors import ConfigurationError

# The old key and the new one, with their sections.
RENAMED: dict[str, str] = {
    "bit_serial.settle": "bit_serial.wordline_rise",
}


def check_content(content: Mapping[str, Any], where: str) -> None:
    """Raise ConfigurationError if the content of a chip file has a key with an old name; `where` begins the message."""
    for old in RENAMED:
        found: Any = content
        for name in old.split("."):
            if not isinstance(found, Mapping) or name not in found:
                break
            found = found[name]
        else:
            check_setting(old, where)


def check_setting(key: str, where: str) -> None:
    """Raise ConfigurationError if a key `section.name` is an old name; `where` begins the message."""
    if key in RENAMED:
        raise ConfigurationError(f"{where}: the key `{key}` has another name now; use `{RENAMED[key]}`")
