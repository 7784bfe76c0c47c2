"""Rules for docstrings: every public name has one, which states the shapes of arrays among arguments and results.

A name is public if neither it nor anything that contains it starts with an underscore. A shape is written
`[rows, columns]` or `(rows, columns)` in the docstring of the function or of its class; "any shape" is enough for
element-wise functions. Units are part of names (`_volts`, `_amps`, ...); quantities with other names are not checked.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "norsim"
ARRAYS = {"NDArray", "ndarray", "ArrayLike", "Tensor"}
SHAPE = re.compile(r"`\[\]`|\[[\w.][\w .*/+x-]*(?:, [^\]]+)*\]|\(\w[\w ]*(?:, [\w ]+)+\)|\bany shape\b")


class Named(NamedTuple):
    """A module, class or function; `outer` are the docstrings of what contains it, its module last."""

    name: str
    node: ast.Module | ast.ClassDef | ast.FunctionDef
    outer: tuple[str, ...]

    @property
    def text(self) -> str:
        return ast.get_docstring(self.node) or ""


@lru_cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def public(path: Path) -> Iterator[Named]:
    """Yield all public names of a module, starting with the module."""
    name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    yield from within(Named(name, tree(path), ()))


def within(named: Named) -> Iterator[Named]:
    """Yield a name and all public names in it; names inside functions are not public."""
    yield named
    for node in [] if isinstance(named.node, ast.FunctionDef) else named.node.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            yield from within(Named(f"{named.name}.{node.name}", node, (named.text, *named.outer)))


def everything() -> list[Named]:
    return [named for path in sorted(PACKAGE.rglob("*.py")) for named in public(path)]


@lru_cache
def array_names() -> frozenset[str]:
    """Return the names of array types: those of NumPy and torch, and norsim's aliases."""
    found = set(ARRAYS)
    for path in PACKAGE.rglob("*.py"):
        for node in tree(path).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and mentioned(node.value, ARRAYS):
                target = node.targets[0].id
                found |= {target} if target[:1].isupper() and not target.isupper() else set()
    return frozenset(found)


def mentioned(annotation: ast.expr, names: frozenset[str] | set[str]) -> bool:
    text = ast.unparse(annotation)
    return any(re.search(rf"\b{name}\b", text) for name in names)


def annotations(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> Iterator[ast.expr]:
    """Yield the annotations of parameters and results; for a class, those of its fields and of `__init__`."""
    if isinstance(node, ast.FunctionDef):
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        yield from (one for argument in arguments if (one := argument.annotation) is not None)
        if node.returns is not None:
            yield node.returns
    if isinstance(node, ast.ClassDef):
        for part in node.body:
            if isinstance(part, ast.AnnAssign):
                yield part.annotation
            elif isinstance(part, ast.FunctionDef) and part.name == "__init__":
                yield from annotations(part)


def without_shape(named: Named) -> bool:
    """Return whether there are arrays among arguments or results, and no docstring states their shape."""
    if not any(mentioned(one, array_names()) for one in annotations(named.node)):
        return False
    return not any(SHAPE.search(text) for text in (named.text, *named.outer[:-1]))


def test_every_public_name_has_a_docstring() -> None:
    assert [named.name for named in everything() if not named.text] == []


def test_arrays_have_their_shapes_stated() -> None:
    assert [named.name for named in everything() if without_shape(named)] == []


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        ("def f(x: Floats) -> None:\n    '''`[n]` amperes.'''", True),
        ("def f(x: Floats) -> None:\n    '''(vectors, rows) of volts.'''", True),
        ("def f(x: Floats) -> None:\n    '''Numbers (in volts).'''", False),
        ("def f(x: int) -> dict[str, Tensor]:\n    '''Numbers.'''", False),
        ("def f(x: int) -> str:\n    '''A text.'''", True),
        ("class C:\n    '''Volts.'''\n    volts: Floats", False),
        ("class C:\n    '''`[rows]`'''\n    def f(self, x: Floats) -> None:\n        '''Go.'''", True),
    ],
)
def test_violations_are_detected(text: str, fine: bool) -> None:
    found = list(within(Named("m", ast.parse(text), ())))
    assert any(without_shape(named) for named in found) != fine


def test_array_types_are_found_by_name() -> None:
    assert {"Floats", "Codes", "Labels", "Tensor", "NDArray"} <= array_names()
    assert not {"Callable", "BACKENDS", "Cell"} & array_names()
