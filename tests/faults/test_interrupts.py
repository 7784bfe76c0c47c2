"""Interrupts: a signal ends a command with code 130 in any phase; nothing is left, and a resumed run ends the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from norsim.spice.simulators.running import ends_with_this_process
from tests.commands.conftest import Run
from tests.commands.conftest import norsim as norsim
from tests.commands.test_resume import results
from tests.processes import Started, start

# A quiet machine takes at most 2 s; a loaded one is given more.
SECONDS = 8.0
RUN = (
    "eval-network", "--network", "digits-cnn", "--images", "8", "--spice-sample", "2", "--proof-images", "4", "--quiet",
    "--set", "calibration.reads=8", "--set", "tile.wordlines=64", "--no-cache", "--backend", "macro",
)  # fmt: skip


def wait_for(path: Path, text: str, times: int, running: Started) -> bool:
    """Return whether a file has a text so many times before a command ends."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        if path.is_file() and path.read_text().count(text) >= times:
            return True
        if running.poll() is not None:
            return False
        time.sleep(0.002)
    raise AssertionError(f"no {text} in {path}")


def interrupted(running: Started, number: int, group: bool) -> int:
    """Send a signal to a command, or to its group; return its exit code, and check the time it takes."""
    begun = time.monotonic()
    (os.killpg if group else os.kill)(running.pid, number)
    code = running.wait(60)
    assert time.monotonic() - begun < SECONDS
    return code


# `make test` kills and resumes runs in tests/commands/test_resume.py.
@pytest.mark.soak
def test_a_run_interrupted_in_every_phase_resumes_to_the_same_bytes(norsim: Run, tmp_path: Path) -> None:
    whole, part = tmp_path / "whole", tmp_path / "part"
    assert norsim(*RUN, "--out", whole).code == 0
    stopped = []
    for count, phase in enumerate(("characterise", "program", "build", "calibrate", "read", "proof")):
        log = part / "events.jsonl"
        name = f'"event": "phase", "phase": "{phase}"'
        before = log.read_text().count(name) if log.is_file() else 0
        running = start(*RUN, "--out", part, "--resume")
        assert wait_for(log, name, before + 1, running), phase
        code = interrupted(running, (signal.SIGINT, signal.SIGTERM)[count % 2], group=bool(count % 3))
        # On a slow machine, it may be over before the signal arrives.
        assert code in (130, 0), phase
        if code:
            stopped.append(phase)
            assert not (part / "summary.json").exists()
        else:
            (part / "manifest.json").unlink()
    assert len(stopped) >= 4, stopped
    assert norsim(*RUN, "--out", part, "--resume").code == 0
    assert results(part) == results(whole) and "summary.json" in results(part)
    assert [path.name for path in part.iterdir() if path.name.startswith(".")] == []
    phases = json.loads((part / "timing.json").read_text())["phases"]
    assert set(phases) == set(json.loads((whole / "timing.json").read_text())["phases"])


@pytest.mark.slow
def test_an_interrupted_training_resumes_to_the_same_weights(norsim: Run, tmp_path: Path) -> None:
    train = (
        "train", "--network", "digits-cnn", "--width", "0.5", "--recipe", "float_epochs=2", "--recipe",
        "quantized_epochs=2", "--jobs", "1", "--quiet",
    )  # fmt: skip
    whole, part = tmp_path / "whole", tmp_path / "part"
    assert norsim(*train, "--out", whole).code == 0
    for epoch in ("1,float,", "1,quantized,"):
        running = start(*train, "--out", part, "--resume")
        if wait_for(part / "log.csv", epoch, 1, running):
            assert interrupted(running, signal.SIGTERM, group=False) in (130, 0)
    assert norsim(*train, "--out", part, "--resume").code == 0
    name = "weights.safetensors"
    assert (part / name).read_bytes() == (whole / name).read_bytes()
    assert [path.name for path in part.iterdir() if path.name.startswith(".")] == []


# What a process does when the signal comes; `ready()` says that it has begun.
HOLDS = {
    "code that swallows every exception": """
        while True:
            try:
                ready()
                time.sleep(60)
            except BaseException:
                pass
    """,
    "a long call in C": """
        import hashlib
        threading.Timer(0.3, ready).start()
        hashlib.pbkdf2_hmac("sha256", b"a", b"b", 2_000_000_000)
    """,
    "a thread that never ends": """
        threading.Thread(target=time.sleep, args=(3600,)).start()
        ready()
        time.sleep(3600)
    """,
    "clean-up that never ends": """
        try:
            ready()
            time.sleep(3600)
        finally:
            time.sleep(3600)
    """,
    "a callback that cannot raise": """
        class Held:
            def __del__(self):
                ready()
                time.sleep(3600)
        held = Held()
        del held
        while True:
            time.sleep(0.1)
    """,
    "a simulator and half a file": """
        from norsim.files import replace_file
        from norsim.spice.simulators.running import Program, own_folder, run

        def write(file):
            file.write(b"half")
            with own_folder() as folder:
                threading.Thread(target=run, args=(Program("sleep", ["sleep", "3600"], {}), folder, 3600)).start()
                while not RUNNING:
                    time.sleep(0.01)
                print(next(iter(RUNNING)).pid, flush=True)
                while True:
                    try:
                        ready()
                        time.sleep(3600)
                    except KeyboardInterrupt:
                        pass

        replace_file(Path("result.json"), write)
    """,
}
PROGRAM = """
import os, sys, threading, time
from pathlib import Path
from norsim.child_processes import RUNNING
from norsim.commands.shared.interrupts import interruptible

def ready():
    print("ready", flush=True)

with interruptible():
"""


def begun(body: str, folder: Path, **options: object) -> tuple[subprocess.Popen[str], list[str]]:
    """Start a program in a process group of its own; return it, and what it printed, once it is ready."""
    program = PROGRAM + textwrap.indent(textwrap.dedent(body), "    ")
    running = subprocess.Popen(
        [sys.executable, "-c", program], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env={**os.environ, "TMPDIR": str(folder)},
        # Tests that were started by nohup ignore SIGHUP.
        **{"preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL), **options},  # type: ignore[call-overload]
    )  # fmt: skip
    assert running.stdout is not None
    said = []
    while (line := running.stdout.readline().strip()) != "ready":
        assert line, running.communicate()
        said.append(line)
    return running, said


@pytest.mark.parametrize("what", HOLDS)
def test_a_process_ends_whatever_holds_its_main_thread(what: str, tmp_path: Path) -> None:
    running, said = begun(HOLDS[what], tmp_path)
    number = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP][list(HOLDS).index(what) % 3]
    start_of_end = time.monotonic()
    os.killpg(running.pid, number)
    _, stderr = running.communicate(timeout=60)
    assert time.monotonic() - start_of_end < SECONDS
    assert running.returncode == 130 and stderr.endswith("norsim: interrupted\n")
    assert list(tmp_path.iterdir()) == []
    for process in said:
        with pytest.raises(ProcessLookupError):
            os.kill(int(process), 0)


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    running, _ = begun(HOLDS["clean-up that never ends"], tmp_path)
    os.kill(running.pid, signal.SIGINT)
    time.sleep(0.1)
    start_of_end = time.monotonic()
    os.kill(running.pid, signal.SIGINT)
    assert running.wait(60) == 130 and time.monotonic() - start_of_end < SECONDS
    running.communicate()


def test_an_ignored_signal_stays_ignored(tmp_path: Path) -> None:
    """As in the background of a shell script, and under nohup."""
    running, _ = begun(
        "ready()\ntime.sleep(0.5)\nprint('done', flush=True)", tmp_path,
        preexec_fn=lambda: [signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGHUP)],
    )  # fmt: skip
    os.kill(running.pid, signal.SIGINT)
    os.kill(running.pid, signal.SIGHUP)
    stdout, _ = running.communicate(timeout=60)
    assert running.returncode == 0 and stdout == "done\n"


def test_a_signal_to_a_forked_child_is_none_to_its_parent(tmp_path: Path) -> None:
    """As when a pool of processes, or the workers of a data loader, are terminated."""
    body = """
        import signal
        child = os.fork()
        if not child:
            time.sleep(3600)
        time.sleep(0.1)
        os.kill(child, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
        ready()
        time.sleep(1.5)
        print("done", flush=True)
    """
    running, _ = begun(body, tmp_path)
    stdout, stderr = running.communicate(timeout=60)
    assert (running.returncode, stdout) == (0, "done\n"), stderr


def test_nothing_is_left_of_it_in_a_program_that_calls_a_command(norsim: Run) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    assert norsim("--version").code == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
    assert signal.set_wakeup_fd(-1) == -1


@pytest.mark.skipif(not ends_with_this_process(), reason="there is no setpriv here")
def test_a_killed_process_leaves_no_simulator(tmp_path: Path) -> None:
    body = """
        from norsim.spice.simulators.running import Program, run
        threading.Thread(target=run, args=(Program("sleep", ["sleep", "3600"], os.environ), Path(), 3600)).start()
        while not RUNNING:
            time.sleep(0.01)
        print(next(iter(RUNNING)).pid, flush=True)
        threading.Timer(0.3, ready).start()
        time.sleep(3600)
    """
    running, (simulator,) = begun(body, tmp_path)
    os.kill(running.pid, signal.SIGKILL)
    running.communicate()
    until = time.monotonic() + SECONDS
    while is_alive(int(simulator)) and time.monotonic() < until:
        time.sleep(0.01)
    assert not is_alive(int(simulator))


def is_alive(process: int) -> bool:
    """Return whether a process runs; one that has ended may wait to be reaped."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
