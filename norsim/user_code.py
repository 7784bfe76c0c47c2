"""User-supplied Python code for networks and data sets: references of the form FILE.py:FUNCTION.

The file is executed, so it must be trusted.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from norsim.errors import ConfigurationError, DataError

BETWEEN = ".py:"


def is_code(name: str) -> bool:
    """Return whether a name is such a reference."""
    return BETWEEN in name


def absolute(reference: str) -> str:
    """Return the reference with an absolute path."""
    file, _, function = reference.rpartition(":")
    return f"{Path(file).resolve()}:{function}"


def call_code(reference: str, *arguments: Any) -> Any:
    """Call the function and return its result. The file is executed once, and again only after a change.

    It can import modules from its own folder. Raises DataError if there is no such file, ConfigurationError with the
    line if it fails or has no such function.
    """
    file, _, name = reference.rpartition(":")
    path = Path(file).resolve()
    function = getattr(_module(path), name, None)
    if not callable(function):
        known = ", ".join(_functions(_module(path))) or "none"
        raise ConfigurationError(f"{path} has no function {name!r}; it has {known}")
    return guarded(reference, lambda: function(*arguments))


def guarded(reference: str, call: Callable[[], Any]) -> Any:
    """Return the result of `call`, which runs code of the reference's file; ConfigurationError with the line if it
    fails."""
    return _run(Path(reference.rpartition(":")[0]).resolve(), call)


def _module(path: Path) -> ModuleType:
    """Return the file as a module, executed once for each content."""
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise DataError(f"{path} cannot be read: {problem.strerror}") from None
    name = f"norsim_own_{path.stem}_{hashlib.sha256(str(path).encode() + content).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"{path} is not a Python file")
    module, loader = importlib.util.module_from_spec(spec), spec.loader
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent))
    try:
        _run(path, lambda: loader.exec_module(module))
    except ConfigurationError:
        del sys.modules[name]
        raise
    finally:
        sys.path.remove(str(path.parent))
    # Cluster workers do not have this file, so its classes are pickled with their objects.
    with suppress(ImportError):
        importlib.import_module("cloudpickle").register_pickle_by_value(module)
    return module


def _run(path: Path, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as problem:  # user code may raise anything
        lines = [frame.lineno for frame in traceback.extract_tb(problem.__traceback__) if frame.filename == str(path)]
        line = lines[-1] if lines else getattr(problem, "lineno", None)
        place = f"{path}, line {line}" if line else str(path)
        raise ConfigurationError(f"{place}: {type(problem).__name__}: {problem}") from problem


def _functions(module: ModuleType) -> list[str]:
    return [
        name
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", "") == module.__name__
    ]
