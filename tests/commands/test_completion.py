"""Shell completion: through click's interface, and in a real bash."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.shell_completion import ShellComplete

from norsim.backends.registry import BACKENDS
from norsim.chip.load import presets
from norsim.commands import COMMANDS, cli
from norsim.data import DATASETS
from norsim.zoo.registry import NETWORKS

Run = Callable[..., Any]

ROOT = Path(__file__).resolve().parents[2]


def completions(*words: str) -> set[str]:
    """Return the completions of the last of `words`; `file` stands for files."""
    *before, last = words
    found = ShellComplete(cli, {}, "norsim", "_NORSIM_COMPLETE").get_completions(before, last)
    return {item.value if item.type == "plain" else item.type for item in found}


def test_commands_are_completed_without_importing_them() -> None:
    assert completions("") >= set(COMMANDS)
    assert completions("eval") == {"eval-network"}
    line = (
        "import sys; from click.shell_completion import ShellComplete; from norsim.commands import cli; "
        "ShellComplete(cli, {}, 'norsim', 'X').get_completions([], ''); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", line], check=True, cwd=ROOT, timeout=60)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("eval-network", "--chip", ""), set(presets())),
        (("eval-network", "--chip", "etox65-"), {"etox65-stress", "etox65-ideal-straps"}),
        (("eval-network", "--chip", "mine"), {"file"}),
        (("eval-network", "--network", "dig"), {"digits-cnn"}),
        (("eval-network", "--network", "runs/"), {"file"}),
        (("train", "--network", ""), set(NETWORKS)),
        (("eval-network", "--dataset", ""), set(DATASETS)),
        (("eval-network", "--backend", ""), {"ideal", *BACKENDS}),
        (("sweep", "--backend", "n"), {name for name in BACKENDS if name.startswith("n")}),
        (("eval-network", "--encoding", ""), {"bit-serial", "linear-pair", "pulse-width", "gate-coupled"}),
        (("eval-network", "--set", "adc.b"), {"adc.bits=", "adc.bow="}),
        (("sweep", "--vary", "bit_serial.wires.source_line_e"), {"bit_serial.wires.source_line_end="}),
        (("runs", ""), {"ls", "show", "verify", "gc"}),
        (("eval-network", "--spice"), {"--spice-sample"}),
        (("completion", ""), {"bash", "zsh", "fish"}),
        (("verify", ""), {"dir"}),
    ],
    # Sorted, because every process that runs tests must collect the same names.
    ids=lambda words: " ".join(words if isinstance(words, tuple) else sorted(words)),
)
def test_options_are_completed(words: tuple[str, ...], expected: set[str]) -> None:
    assert completions(*words) == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(norsim: Run, shell: str) -> None:
    ended = norsim("completion", shell)
    assert ended.code == 0 and f"_NORSIM_COMPLETE={shell}_complete" in ended.out and not ended.err


def test_bash_completes(tmp_path: Path) -> None:
    """Load the script in bash, and call its function like bash does when Tab is pressed."""
    program = tmp_path / "norsim"
    program.write_text(f"#!{sys.executable}\nfrom norsim.commands import main\n\nmain()\n")
    program.chmod(0o755)
    script = """
        eval "$(norsim completion bash)"
        complete -p norsim
        try() {
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
            _norsim_completion norsim
            echo "${COMPREPLY[*]}"
        }
        try norsim eval-n
        try norsim eval-network --chip etox
    """
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        ["bash", "--norc", "-c", script], env=environment, capture_output=True, text=True, timeout=120, cwd=tmp_path
    )
    assert ended.returncode == 0 and not ended.stderr, ended.stderr
    registered, *found = ended.stdout.splitlines()
    assert "_norsim_completion" in registered
    assert [set(line.split()) for line in found] == [
        {"eval-network"},
        {"etox-va", "etox65", "etox65-stress", "etox65-ideal-straps"},
    ]
