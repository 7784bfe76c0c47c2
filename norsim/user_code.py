"""User-supplied Python code for networks and data sets: references of the form FILE.py:FUNCTION.

The file is executed, so it must be trusted. Modules beside it belong to it alone: they are loaded under names of their
own, so that two files, each with a `utils.py` beside it, do not share one, and nothing else sees them.
"""

from __future__ import annotations

import builtins
import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from norsim.errors import ConfigurationError, DataError

BETWEEN = ".py:"
PREFIX = "norsim_own_"


def is_code(name: str) -> bool:
    """Return whether a name is such a reference."""
    return BETWEEN in name


def absolute(reference: str) -> str:
    """Return the reference with an absolute path."""
    file, _, function = reference.rpartition(":")
    return f"{Path(file).resolve()}:{function}"


def call_code(reference: str, *arguments: Any) -> Any:
    """Call the function and return its result.

    The file is executed once, and again only after a change of it or of a module beside it. It can import modules from
    its own folder, also later, inside functions. Raises DataError if there is no such file, ConfigurationError with the
    line if it fails or has no such function.
    """
    file, _, name = reference.rpartition(":")
    program = _program(Path(file).resolve())
    function = getattr(program.module, name, None)
    if not callable(function):
        known = ", ".join(_functions(program.module)) or "none"
        raise ConfigurationError(f"{program.path} has no function {name!r}; it has {known}")
    return guarded(reference, lambda: function(*arguments))


def once(reference: str, what: str, make: Callable[[], Any]) -> Any:
    """Return the result of `make`, which is called once for each `what` of a reference, until its files change.

    A function may return something else at each call, such as random weights or images; a run uses only one of them.
    """
    program, key = _program(Path(reference.rpartition(":")[0]).resolve()), (reference, what)
    if key not in program.results:
        program.results[key] = make()
    return program.results[key]


def guarded(reference: str, call: Callable[[], Any]) -> Any:
    """Return the result of `call`, which runs code of the reference's file; ConfigurationError with the line if it
    fails."""
    path = Path(reference.rpartition(":")[0]).resolve()
    with importable(path.parent):
        return _run(path, call)


def code_of(modules: Iterable[str]) -> list[str]:
    """Return the SHA-256 of every file executed so far for those user-supplied files that `modules` belong to."""
    names = {module.partition(".")[0] for module in modules}
    return sorted(
        f"{path} {digest}"
        for program in PROGRAMS.values() if program.name in names for path, digest in program.sources.items()
    )  # fmt: skip


class _Program:
    """A user's file, as a package of its own name whose modules are the files beside it.

    `sources`   SHA-256 of each executed file, by path
    `results`   what `once` has made, by reference and name
    """

    def __init__(self, path: Path, content: bytes) -> None:
        digest = hashlib.sha256(str(path).encode() + content).hexdigest()[:16]
        self.path, self.name = path, f"{PREFIX}{''.join(c if c.isalnum() else '_' for c in path.stem)}_{digest}"
        self.sources: dict[str, str] = {}
        self.results: dict[tuple[str, str], Any] = {}
        watch_imports()
        loader = _Loader(self.name, str(path), self)
        spec = ModuleSpec(self.name, loader, origin=str(path), is_package=True)
        spec.submodule_search_locations, spec.has_location = [str(path.parent)], True
        self.module = importlib.util.module_from_spec(spec)

    def execute(self) -> None:
        """Execute the file. Raises ConfigurationError with the line if it fails."""
        for name in [name for name in sys.modules if name.partition(".")[0] == self.name]:
            del sys.modules[name]
        sys.modules[self.name] = sys.modules[f"{self.name}.{self.path.stem}"] = self.module
        loader = self.module.__spec__.loader if self.module.__spec__ else None
        assert loader is not None
        with importable(self.path.parent):
            _run(self.path, lambda: loader.exec_module(self.module))

    def is_current(self) -> bool:
        """Return whether no executed file has changed."""
        return all(_digest(Path(path)) == digest for path, digest in self.sources.items())


# The files of this process, each as it was last executed.
PROGRAMS: dict[Path, _Program] = {}


def forget() -> None:
    """Forget what was imported for user-supplied files in this process, so that it is read again."""
    for name in [name for name in sys.modules if name.startswith(PREFIX)]:
        del sys.modules[name]
    PROGRAMS.clear()


def watch_imports() -> None:
    """Let imports in user-supplied files, also those inside functions, find what lies beside the file."""
    if builtins.__import__ is not _import:
        builtins.__import__ = _import
    if importlib.import_module is not _import_module:
        importlib.import_module = _import_module


PYTHONS_OWN = builtins.__import__
PYTHONS_IMPORT_MODULE = importlib.import_module


def _import_module(name: str, package: str | None = None) -> ModuleType:
    """Import as `importlib.import_module` does; a file of a program takes what lies beside it."""
    program = _caller(sys._getframe(1).f_globals)
    if program and not name.startswith(".") and _has(program, name.partition(".")[0]):
        return PYTHONS_IMPORT_MODULE(f"{program}.{name}")
    return PYTHONS_IMPORT_MODULE(name, package)


def _caller(variables: Any) -> str:
    """Return the program that global variables belong to, known to Python; an empty string if they are of none."""
    program = str((variables or {}).get("__name__", "")).partition(".")[0]
    if not program.startswith(PREFIX):
        return ""
    if program not in sys.modules:
        # In a worker, a function that was pickled knows where its file is.
        sys.modules[program] = ModuleType(program)
        sys.modules[program].__path__ = [str(Path(variables["__file__"]).parent)]
    return program


def _import(
    name: str, globals: Any = None, locals: Any = None, fromlist: Sequence[str] | None = (), level: int = 0
) -> ModuleType:
    """Import as Python does; a file of a program takes what lies beside it."""
    # A call of `__import__`, which is no statement, need not pass its variables.
    program = "" if level else _caller(sys._getframe(1).f_globals if globals is None else globals)
    first = name.partition(".")[0]
    if not program or not _has(program, first):
        return PYTHONS_OWN(name, globals, locals, fromlist or (), level)
    found = PYTHONS_OWN(f"{program}.{name}", globals, locals, fromlist or (), 0)
    return found if fromlist else sys.modules[f"{program}.{first}"]


def _has(program: str, name: str) -> bool:
    """Return whether a module of that name lies beside the file of a program.

    As everywhere in Python, modules of the standard library that are in use already come first, and a folder without
    `__init__.py` comes last.
    """
    if f"{program}.{name}" in sys.modules:
        return True
    if name in sys.stdlib_module_names or name == "norsim":
        return False
    folders = list(sys.modules[program].__path__)
    spec = PathFinder.find_spec(f"{program}.{name}", folders)
    if spec is None or spec.has_location:
        return spec is not None
    elsewhere = [path for path in sys.path if path not in folders]
    return name not in sys.modules and PathFinder.find_spec(name, elsewhere) is None


class _Loader(SourceFileLoader):
    """Loads a file as a part of a program."""

    def __init__(self, name: str, path: str, program: _Program) -> None:
        super().__init__(name, path)
        self.program = program

    def get_code(self, fullname: str) -> Any:
        """Compile the file itself: a compiled copy is not trusted to be of the same content."""
        content = self.get_data(self.path)
        self.program.sources[self.path] = hashlib.sha256(content).hexdigest()
        return self.source_to_code(content, self.path)

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        # Cluster workers do not have this file, so its classes are pickled with their objects.
        with suppress(ImportError):
            importlib.import_module("cloudpickle").register_pickle_by_value(module)


class _Finder:
    """Finds the modules of programs."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        first, dot, _ = name.partition(".")
        program = next((one for one in PROGRAMS.values() if one.name == first), None)
        if program is None or not dot:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(name, spec.loader.path, program)
        return spec


sys.meta_path.insert(0, _Finder)


def _program(path: Path) -> _Program:
    """Return the file, executed once for each content."""
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise DataError(f"{path} cannot be read: {problem.strerror}") from None
    known = PROGRAMS.get(path)
    if known is not None and known.is_current():
        return known
    program = PROGRAMS[path] = _Program(path, content)
    try:
        program.execute()
    except BaseException:
        # Also if it was interrupted: half a module is of no use.
        del PROGRAMS[path]
        raise
    return program


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Let code import modules from the folder by other means than statements, such as unpickling; forget them after."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        with suppress(ValueError):
            sys.path.remove(str(folder))
        beside = {name for name in set(sys.modules) - before if _lies_in(folder, name)}
        for name in [name for name in sys.modules if name.partition(".")[0] in beside]:
            del sys.modules[name]


def _lies_in(folder: Path, name: str) -> bool:
    """Return whether an imported module is a file or a folder in `folder`."""
    module = sys.modules[name]
    places = getattr(module, "__path__", None) or [getattr(module, "__file__", None) or ""]
    return not name.startswith(PREFIX) and "." not in name and Path(next(iter(places), "")).parent == folder


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _run(path: Path, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except (Exception, SystemExit) as problem:  # user code may raise anything, and must not end this process
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
