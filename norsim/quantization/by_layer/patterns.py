"""Which of several patterns each layer follows."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from norsim.errors import ConfigurationError, suggestion


def first_matches(patterns: Sequence[str], names: Sequence[str]) -> dict[str, str | None]:
    """Return for each layer the first of the shell `patterns`, such as `layer1.*`, that matches its name, or None.

    Raises ConfigurationError for a pattern without effect: one that matches no layer, or that only matches layers which
    follow earlier patterns. `*` may be left with none.
    """
    found = {name: next((one for one in patterns if fnmatchcase(name, one)), None) for name in names}
    for place, pattern in enumerate(patterns):
        own = [name for name in names if fnmatchcase(name, pattern)]
        if not own:
            raise ConfigurationError(f"{pattern!r} matches no layer; {suggestion(pattern, names)}")
        if pattern != "*" and pattern not in found.values():
            earlier = ", ".join(repr(one) for one in patterns[:place] if one in {found[name] for name in own})
            raise ConfigurationError(
                f"{pattern!r} has no effect, because {earlier}, which comes before it, matches the same layers; give "
                f"{pattern!r} first"
            )
    return found
