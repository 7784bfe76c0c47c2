"""`norsim completion`: what makes a shell complete commands, options and names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from norsim.errors import ConfigurationError

# The variable that such a script asks norsim by, as click has it for a program of that name.
VARIABLE = "_NORSIM_COMPLETE"


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the script that completes commands, options and names in SHELL; its start-up file is to run it.

    \b
    Examples:
      norsim completion bash > ~/.local/share/bash-completion/completions/norsim
      norsim completion zsh > ~/.zfunc/_norsim
      norsim completion fish > ~/.config/fish/completions/norsim.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise ConfigurationError(f"click has no completion for {shell}")
    root = click.get_current_context().find_root().command
    click.echo(kind(root, {}, "norsim", VARIABLE).source())
