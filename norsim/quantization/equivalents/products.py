"""Find products with weights that a network computes in functions, and give them layers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from norsim.errors import ConfigurationError
from norsim.quantization.equivalents.routed import Call, Route, RoutedForward, Tracked, is_routed
from norsim.quantization.exempt import is_exempt
from norsim.quantization.forward import forward
from norsim.quantization.replace import linear_of


@dataclass(frozen=True)
class Product:
    """A product in a function.

    `module`      name of the module whose forward calls the function
    `weight`      name of the parameter; `bias` that of the bias that is added with it, None for another one or none
    `layer`       name of the layer that does the product: a child of `module`, or a layer that has the weight
    `transposed`  whether the layer's weight is the transpose of the parameter
    `geometry`    stride, padding, dilation and groups of a convolution; None for a linear product
    """

    module: str
    weight: str
    bias: str | None
    layer: str
    transposed: bool
    geometry: tuple[Any, ...] | None = None

    def is_exempt(self, digital: Collection[str]) -> bool:
        """Return whether its module, the owner of its weight or its layer matches one of the patterns `digital`."""
        owner = self.weight.rpartition(".")[0]
        return any(is_exempt(name, digital) for name in (self.module, owner, self.layer))

    @classmethod
    def of(cls, content: Any) -> Product:
        """Return a product from JSON. Raises ConfigurationError for anything else."""
        if not isinstance(content, Mapping) or set(content) != {field.name for field in fields(cls)}:
            raise ConfigurationError(f"a product is {content!r}; expected its module, weight, bias, layer and form")
        geometry = content["geometry"]
        values = None if geometry is None else tuple(tuple(one) if isinstance(one, list) else one for one in geometry)
        return cls(**{**content, "geometry": values})


@torch.no_grad()
def find_products(network: nn.Module, inputs: Any) -> list[Product]:
    """Return the products that `network` computes in functions for `inputs` `[images, ...]`, with weights that are
    parameters of its modules.

    Modules of torch, which compute in functions what they are, are left out. So are products in several forms or of
    several modules with one weight, which no single layer could do, and those of weights that are computed: they stay
    digital.
    """
    watch = _Watch(network)
    with torch.random.fork_rng(devices=[]), watch.modules(), watch:
        forward(network, inputs)
    names = _names(network)
    found: dict[str, list[Product]] = {}
    for module, call in watch.calls:
        weight, owner, key = names[id(call.weight)][0]
        if _is_torchs(network.get_submodule(module)) or not _fits(call):
            continue
        held = isinstance(network.get_submodule(owner), nn.Linear) and key == "weight" and owner != module
        child = f"{key}_product" if owner == module else f"{owner.replace('.', '_')}_product"
        layer = owner if held and not call.transposed else ".".join(filter(None, (module, child)))
        bias = None if call.bias is None else names.get(id(call.bias), [(None,)])[0][0]
        product = Product(module, weight, bias, layer, call.transposed, call.geometry)
        if product not in found.setdefault(weight, []):
            found[weight].append(product)
    return [products[0] for products in found.values() if len(products) == 1]


def _names(network: nn.Module) -> dict[int, list[tuple[str, str, str]]]:
    """Return the names of each parameter, by its id, each as a whole and as its module and key; those of linear layers
    first, because a tied weight has several."""
    found: dict[int, list[tuple[str, str, str]]] = {}
    for name, value in network.named_parameters(remove_duplicate=False):
        owner, _, key = name.rpartition(".")
        first = isinstance(network.get_submodule(owner), nn.Linear)
        found.setdefault(id(value), []).insert(0 if first else len(found[id(value)]), (name, owner, key))
    return found


def route_products(network: nn.Module, products: Iterable[Product]) -> nn.Module:
    """Let layers do the `products` of `network`, which is a copy, and return it.

    Raises ConfigurationError for a product whose module or weight it does not have.
    """
    routes: dict[str, list[Route]] = {}
    names = _names(network)
    for product in products:
        owner = product.weight.rpartition(".")[0]
        try:
            part, holder = network.get_submodule(product.module), network.get_submodule(owner)
            weight = network.get_parameter(product.weight)
            bias = None if product.bias is None else network.get_parameter(product.bias)
        except AttributeError as problem:
            raise ConfigurationError(f"the network has no product with {product.weight!r}: {problem}") from None
        if product.layer == owner:
            layer = holder
        else:
            layer = _layer(product, weight, bias)
            part.add_module(product.layer.rpartition(".")[2], layer)
        at: tuple[nn.Module, str] | None = None
        if product.bias is not None:
            place, _, name = product.bias.rpartition(".")
            at = network.get_submodule(place), name
        places = tuple((network.get_submodule(one), other) for _, one, other in names[id(weight)])
        routes.setdefault(product.module, []).append(Route(places, layer, at, product))
    for name, some in routes.items():
        part = network.get_submodule(name)
        part.__dict__["forward"] = RoutedForward(part, some)
    return network


def products_of(network: nn.Module) -> list[Product]:
    """Return the products of `network` that layers do."""
    routed = [vars(part)["forward"] for part in network.modules() if is_routed(part)]
    return [route.product for one in routed for route in one.routes]


def as_json(products: Iterable[Product]) -> list[dict[str, Any]]:
    """Return products for a file, from which `Product.of` makes them again."""
    return [asdict(product) for product in products]


def _layer(product: Product, weight: Tensor, bias: Tensor | None) -> nn.Module:
    """Return a layer with the weight of a product, and a copy of its bias."""
    own = None if bias is None else nn.Parameter(bias.detach().clone())
    matrix: Any = nn.Parameter(weight.detach().t().clone()) if product.transposed else weight
    if product.geometry is None:
        return linear_of(matrix, own)
    kind: Any = nn.Conv2d if weight.ndim == 4 else nn.Conv1d
    stride, padding, dilation, groups = product.geometry
    shape = weight.shape[1] * groups, weight.shape[0], tuple(weight.shape[2:])
    layer: nn.Module = kind(*shape, stride, padding, dilation, groups, own is not None, device="meta")
    layer.register_parameter("weight", matrix)
    layer.register_parameter("bias", own)
    return layer.train(False)


def _is_torchs(part: nn.Module) -> bool:
    """Return whether a module computes what torch's class does, in its forward."""
    defined = type(part).forward.__module__
    return defined.startswith("torch.") or "forward" in vars(part)


def _fits(call: Call) -> bool:
    """Return whether a layer can do a product: a convolution must pad both sides alike."""
    if call.geometry is None:
        return True
    return not isinstance(call.geometry[1], str) or call.geometry[1] == "valid"


class _Watch(TorchFunctionMode):
    """A record of products with parameters, each with the name of the module whose forward computes it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.inside = network, [""]
        self.tracked = Tracked(value for value in network.parameters() if value.ndim > 1)
        self.calls: list[tuple[str, Call]] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        call = self.tracked.call(func, args, kwargs or {})
        if call is not None:
            self.calls.append((self.inside[-1], call))
        found = func(*args, **(kwargs or {}))
        self.tracked.follow(func, args, found)
        return found

    @contextmanager
    def modules(self) -> Iterator[None]:
        """Know, within the block, which module's forward runs."""
        handles = []
        for name, part in self.network.named_modules():
            if isinstance(part, torch.jit.ScriptModule):
                # It takes no hooks, and its functions are not seen.
                continue
            handles.append(part.register_forward_pre_hook(lambda *_, name=name: self.inside.append(name)))
            handles.append(part.register_forward_hook(lambda *_: self._leave(), always_call=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _leave(self) -> None:
        self.inside.pop()
