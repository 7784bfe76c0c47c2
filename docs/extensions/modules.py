"""Replace `<!-- modules: PACKAGE -->` in a page with the documentation of each public module of that package."""

from __future__ import annotations

import pkgutil
import re
from importlib import import_module

from numba.core.extending import _Intrinsic
from sphinx.application import Sphinx

import norsim
from norsim import api

MARK = re.compile(r"<!-- (modules|exports): ([\w.]+) -->")


def modules_of(package: str) -> list[str]:
    """Return the package and its public modules, without those of subpackages."""
    folder = import_module(package)
    return [
        package,
        *(
            f"{package}.{part.name}"
            for part in pkgutil.iter_modules(folder.__path__)
            if not part.ispkg and not part.name.startswith("_")
        ),
    ]


def intrinsics(module: str) -> list[str]:
    """Return the public intrinsics of numba in a module, which autodoc does not take for functions."""
    members = vars(import_module(module)).items()
    return [
        f"{module}.{name}" for name, value in members if isinstance(value, _Intrinsic) and value.__module__ == module
    ]


def documented(kind: str, name: str, *options: str) -> str:
    """Return an autodoc directive for a Markdown page."""
    lines = [f".. auto{kind}:: {name}", *(f"   :{option}:" for option in options)]
    return "\n".join(["```{eval-rst}", *lines, "```"])


def expand(kind: str, package: str) -> str:
    """Return the text that replaces the mark."""
    if kind == "modules":
        own, *parts = modules_of(package)
        sections = (
            "\n\n".join(
                [f"## {name}", documented("module", name), *(documented("function", one) for one in intrinsics(name))]
            )
            for name in parts
        )
        return "\n\n".join([documented("module", own), *sections])
    kinds = {name: "class" if isinstance(getattr(norsim, name), type) else "function" for name in api.__all__}
    return "\n\n".join(documented(kind, f"norsim.{name}", "no-index") for name, kind in kinds.items())


def read(app: Sphinx, page: str, source: list[str]) -> None:
    """Expand the marks of a page in place; Sphinx calls this for each page."""
    source[0] = MARK.sub(lambda match: expand(match[1], match[2]), source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """Set up the extension."""
    app.connect("source-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
