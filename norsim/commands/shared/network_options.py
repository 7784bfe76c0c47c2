"""Options that say which network, on which data, and whose code is trusted for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from norsim.commands.shared.complete import complete_dataset, complete_network
from norsim.commands.shared.options import Decorated, noted, noting
from norsim.errors import ConfigurationError
from norsim.user_code import is_code

if TYPE_CHECKING:
    from norsim.quantization.normalise import Normalise

TRUST_MODEL, OWN_MODEL = "norsim.trust_model", "norsim.own_model"


def model_is_trusted() -> bool:
    """Whether the command was given `--trust-model`, or `--model`."""
    return noted(TRUST_MODEL) or noted(OWN_MODEL)


def trust_model_option(function: Decorated) -> Decorated:
    """`--trust-model`, which `model_is_trusted` tells of."""
    return click.option(
        "--trust-model", is_flag=True, expose_value=False, callback=noting(TRUST_MODEL),
        help="Run the Python file that a stored network of your own names.",
    )(function)  # fmt: skip


def own_network_options(function: Decorated) -> Decorated:
    """`--model`, `--weights`, `--mean` and `--std`, for commands that can quantize a float network themselves."""
    for option in (
        click.option("--std", metavar="NUMBERS", callback=_numbers,
                     help="With --mean: what images are divided by then, such as 0.2470,0.2435,0.2616."),
        click.option("--mean", metavar="NUMBERS", callback=_numbers,
                     help="What float weights want taken from images of 0 to 1 in each channel, such as "
                          "0.4914,0.4822,0.4465."),
        click.option("--weights", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE",
                     help="Float weights for --model, or for the definition --network: they are quantized first."),
        click.option("--model", metavar="FILE.py:FUNCTION|FILE.onnx", is_eager=True, callback=_trusting,
                     help="A network of your own, which the function returns, whose file is run; or an ONNX file. "
                          "Instead of --network."),
    ):  # fmt: skip
        function = option(function)
    return function


def _trusting(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """Who names a file of code on the command line trusts it; an ONNX file is no code."""
    if value is not None and not value.endswith(".onnx"):
        if not is_code(value):
            raise ConfigurationError(
                f"--model {value}: expected FILE.py:FUNCTION, for example nets.py:make_net, or FILE.onnx"
            )
        context.meta[OWN_MODEL] = True
    return value


def _numbers(context: click.Context, option: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    """`0.5,0.4` -> (0.5, 0.4)."""
    try:
        return None if value is None else tuple(float(word) for word in value.split(","))
    except ValueError:
        raise ConfigurationError(
            f"--{option.name} {value}: expected a number for each channel, such as 0.4914,0.4822,0.4465"
        ) from None


def normalise_of(mean: tuple[float, ...] | None, std: tuple[float, ...] | None, quantizes: bool) -> Normalise | None:
    """What `--mean` and `--std` say together, for a command that `quantizes` a network, or not."""
    if mean is None and std is None:
        return None
    if mean is None or std is None:
        raise ConfigurationError("--mean and --std belong together: give both")
    if not quantizes:
        raise ConfigurationError("--mean and --std go with --weights or --model: a trained network says itself")
    from norsim.quantization.normalise import Normalise

    return Normalise(mean, std)


def _network_or_model(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    own = context.params.get("model")
    if value is None and own is None:
        raise click.MissingParameter(ctx=context, param=option)
    if value is not None and own is not None:
        raise ConfigurationError("--network and --model are two networks: give one")
    return value


def network_options(function: Decorated) -> Decorated:
    """`--network`, `--dataset`, `--data`, `--trust-model`."""
    for option in (
        trust_model_option,
        click.option("--data", "data_folder", type=click.Path(path_type=Path), metavar="DIR",
                     help="Folder of the data set, where it does not come with norsim."),
        click.option("--dataset", metavar="NAME|DIR|FILE", shell_complete=complete_dataset,
                     help="digits, cifar10, a folder of images by class, a .npz file, or FILE.py:FUNCTION, whose file "
                          "is run; the one the network was trained on by default."),
        click.option("--network", metavar="NAME|DIR", callback=_network_or_model, shell_complete=complete_network,
                     help="A trained network that comes with norsim, or a folder that norsim train wrote."),
    ):  # fmt: skip
        function = option(function)
    return function
