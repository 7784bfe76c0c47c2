"""The layout of the package: small folders, few loose modules, and no import cycles."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import networkx
import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "norsim"
MODULES = sorted(PACKAGE.rglob("*.py"))
MOST_FILES, MOST_UTILITIES, LARGEST_SHARE = 14, 6, 0.15
# Optional third-party modules, which cannot be imported at the top.
OPTIONAL = {"distributed", "dask_jobqueue", "cloudpickle"}


def name_of(path: Path) -> str:
    """Return the dotted name of a module."""
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


NAMES = {name_of(path) for path in MODULES}


def imports(node: ast.AST) -> Iterator[str]:
    """Yield the modules of norsim that code imports, at any place; imports for type checking do not count."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if isinstance(node, ast.ImportFrom) and node.module:
        for alias in node.names:
            whole = f"{node.module}.{alias.name}"
            yield whole if whole in NAMES else node.module
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    for child in ast.iter_child_nodes(node):
        yield from imports(child)


@pytest.fixture(scope="module")
def graph() -> networkx.DiGraph[str]:
    """Return the graph of imports, without the package itself, which re-exports its modules."""
    found: networkx.DiGraph[str] = networkx.DiGraph()
    for path in MODULES:
        name = name_of(path)
        if name != "norsim":
            found.add_edges_from((name, other) for other in imports(ast.parse(path.read_text())) if other in NAMES)
    return found


def test_folders_hold_few_files() -> None:
    folders = {path.parent for path in MODULES}
    crowded = {str(folder): count for folder in folders if (count := len(list(folder.glob("*.py")))) > MOST_FILES}
    assert crowded == {}


def test_there_are_few_modules_beside_the_packages() -> None:
    loose = sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__")
    assert len(loose) <= MOST_UTILITIES, loose


def test_no_package_is_much_larger_than_the_others() -> None:
    lines: dict[str, int] = {}
    for path in MODULES:
        package = path.relative_to(PACKAGE).parts[0]
        lines[package] = lines.get(package, 0) + len(path.read_text().splitlines())
    largest = max(lines, key=lines.__getitem__)
    assert lines[largest] <= LARGEST_SHARE * sum(lines.values()), largest


def test_imports_have_no_cycles(graph: networkx.DiGraph[str]) -> None:
    assert graph.number_of_edges() > 500
    assert [sorted(group) for group in networkx.strongly_connected_components(graph) if len(group) > 1] == []


def test_nothing_is_imported_by_a_string() -> None:
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if called.endswith("import_module") or called == "__import__":
                assert isinstance(node, ast.Call) and isinstance(node.args[0], ast.Constant), path
                assert node.args[0].value in OPTIONAL, f"{path}: {node.args[0].value}"


def test_imports_are_detected() -> None:
    code = "def f():\n    from norsim.array import tile\nif TYPE_CHECKING:\n    from norsim.array import wires"
    assert list(imports(ast.parse(code))) == ["norsim.array.tile"]
