"""`norsim completion`: the script that makes a shell complete commands, options and names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from norsim.errors import ConfigurationError

# The environment variable through which the script calls norsim; click derives it from the program's name.
VARIABLE = "_NORSIM_COMPLETE"


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the script that makes SHELL complete commands, options and names.

    \b
    Either run it from the shell's start-up file:
      ~/.bashrc                   eval "$(norsim completion bash)"
      ~/.zshrc, after compinit    eval "$(norsim completion zsh)"
      ~/.config/fish/config.fish  norsim completion fish | source

    \b
    Or save it as a file in a folder that the shell searches; for zsh,
    ~/.zshrc needs  fpath=(~/.zfunc $fpath)  before compinit:
      mkdir -p ~/.local/share/bash-completion/completions ~/.zfunc ~/.config/fish/completions

    \b
    Examples:
      norsim completion bash > ~/.local/share/bash-completion/completions/norsim
      norsim completion zsh > ~/.zfunc/_norsim
      norsim completion fish > ~/.config/fish/completions/norsim.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise ConfigurationError(f"click has no completion for {shell}; expected bash, zsh or fish")
    root = click.get_current_context().find_root().command
    click.echo(kind(root, {}, "norsim", VARIABLE).source())
