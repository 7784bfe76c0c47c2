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
    """Print the script that completes commands, options and names in SHELL.

    \b
    A line in the shell's start-up file runs it, each time a shell starts:
      ~/.bashrc                   eval "$(norsim completion bash)"
      ~/.zshrc, behind compinit   eval "$(norsim completion zsh)"
      ~/.config/fish/config.fish  norsim completion fish | source

    \b
    Or it is kept as a file in a folder that the shell looks into; for zsh
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
        raise ConfigurationError(f"click has no completion for {shell}")
    root = click.get_current_context().find_root().command
    click.echo(kind(root, {}, "norsim", VARIABLE).source())
