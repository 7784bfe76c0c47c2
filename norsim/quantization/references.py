"""References to modules and tensors in the values that a user keeps in a network: lists, functions, hooks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from types import BuiltinFunctionType, CellType, FunctionType, MethodType, ModuleType
from typing import Any

from torch import Tensor, nn

# Attributes of every module that hold its parts and its settings, and no values of the user's.
TORCH_KEEPS = frozenset(vars(nn.Module()))
HOOKS = tuple(sorted(name for name in TORCH_KEEPS if name.endswith(("_hooks", "_pre_hooks"))))
# Types without references to modules, where the search ends.
LEAVES = (str, bytes, int, float, complex, bool, type(None), type, Tensor, ModuleType, BuiltinFunctionType)


def redirect(network: nn.Module, new: Mapping[int, Any]) -> None:
    """Let the attributes and hooks of all modules of `network` refer to `new[id(part)]` instead of any such `part`.

    Lists, dicts, tuples, bound methods, partial functions, closures, default arguments, globals that a function reads
    and objects of the user's classes are searched. Registered children, parameters and buffers stay as they are.
    """
    redirection = _Redirection(new)
    for part in network.modules():
        for name, value in list(vars(part).items()):
            if name not in TORCH_KEEPS or name in HOOKS:
                part.__dict__[name] = redirection(value)


def hidden_modules(part: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the attributes of `part` that hold modules in lists, tuples, sets or dicts, with each module."""
    for name, value in vars(part).items():
        if name not in TORCH_KEEPS:
            yield from ((name, module) for module in _modules_in(value, 4))


def _modules_in(value: Any, depth: int) -> Iterator[nn.Module]:
    if isinstance(value, nn.Module):
        yield value
    elif depth and isinstance(value, (list, tuple, set, frozenset, dict)):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _modules_in(one, depth - 1)


class _Redirection:
    """Replaces references in values: containers and objects in place, tuples and functions by new ones."""

    def __init__(self, new: Mapping[int, Any]) -> None:
        self.new = new
        # Values in progress or done, by id; they are kept, so that no id is used again.
        self.seen: dict[int, tuple[Any, Any]] = {}

    def __call__(self, value: Any) -> Any:
        if id(value) in self.new:
            return self.new[id(value)]
        if isinstance(value, (*LEAVES, nn.Module)):
            return value
        if id(value) not in self.seen:
            self.seen[id(value)] = value, value
            self.seen[id(value)] = value, self._of(value)
        return self.seen[id(value)][1]

    def _of(self, value: Any) -> Any:
        if isinstance(value, dict):
            for key, one in list(value.items()):
                value[key] = self(one)
        elif isinstance(value, list):
            value[:] = [self(one) for one in value]
        elif isinstance(value, (set, frozenset)):
            return type(value)(self(one) for one in value)
        elif isinstance(value, tuple):
            found = [self(one) for one in value]
            if any(one is not other for one, other in zip(found, value, strict=True)):
                return type(value)(*found) if hasattr(value, "_fields") else type(value)(found)
        elif isinstance(value, MethodType):
            owner = self(value.__self__)
            return value if owner is value.__self__ else _method(value, owner)
        elif isinstance(value, partial):
            named = self(dict(value.keywords))
            return type(value)(self(value.func), *map(self, value.args), **named)
        elif isinstance(value, FunctionType):
            return self._function(value)
        elif hasattr(value, "__dict__") and not type(value).__module__.startswith(("torch", "numpy", "builtins")):
            for name, one in list(vars(value).items()):
                value.__dict__[name] = self(one)
        return value

    def _function(self, function: FunctionType) -> FunctionType:
        """Return the function with its closure, default arguments and globals redirected; itself if none changes."""
        cells = tuple(self._cell(cell) for cell in function.__closure__ or ())
        defaults, named = self(function.__defaults__), self(dict(function.__kwdefaults__ or {}))
        names = function.__code__.co_names
        read = {name: function.__globals__[name] for name in names if id(function.__globals__.get(name)) in self.new}
        same = all(one is other for one, other in zip(cells, function.__closure__ or (), strict=True))
        if same and not read and defaults is function.__defaults__ and named == (function.__kwdefaults__ or {}):
            return function
        scope = {**function.__globals__, **{name: self(value) for name, value in read.items()}}
        used = scope if read else function.__globals__
        found = FunctionType(function.__code__, used, function.__name__, defaults, cells)
        found.__kwdefaults__ = named or None
        found.__dict__.update(function.__dict__)
        return found

    def _cell(self, cell: CellType) -> CellType:
        try:
            content = cell.cell_contents
        except ValueError:  # an empty cell
            return cell
        found = self(content)
        return cell if found is content else CellType(found)


def _method(method: MethodType, owner: Any) -> Any:
    """Return the method of that name of `owner`, or the same function bound to it."""
    own = getattr(type(owner), method.__name__, None)
    replaced = getattr(type(method.__self__), method.__name__, None) is method.__func__
    return MethodType(own, owner) if replaced and callable(own) else MethodType(method.__func__, owner)
