"""The demo's stages: a line each, a log of what the commands say, and how they end."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from trlt.commands import _demo_stages as demo_stages
from trlt.commands._output import Output
from trlt.errors import Interrupted, TrltError
from trlt.errors.system import disk_error


@pytest.fixture
def stages(monkeypatch, tmp_path):
    """`stages("code", ...)` runs each Python program as a command, in a stage of its own; gives the log's text."""
    monkeypatch.setattr(demo_stages, "python_command", lambda *words: [sys.executable, "-u", "-c", words[-1]])

    def go(*programs, log=tmp_path / "new" / "demo.log", output=None):
        names = [f"stage {place}" for place in range(len(programs))]
        with demo_stages.demo_stages(output or Output(), names, log) as made:
            for program in programs:
                with made.next():
                    made.run("train", program)
        return log and log.read_text()

    return go


def test_words_go_to_the_log_and_a_line_per_stage_is_shown(stages, capfd):
    text = stages("print('to stdout'); import sys; print('to stderr', file=sys.stderr)", "print('[b]more[/b]')")
    shown = capfd.readouterr()
    assert shown.out == "" and shown.err == "stage 0: done, 0:00\nstage 1: done, 0:00\n"
    assert "to stdout\nto stderr\n" in text and "\n[b]more[/b]\n" in text
    assert text.index("stage 0 ──") < text.index("trlt train ") < text.index("to stdout") < text.index("stage 1 ──")


def test_without_a_log_words_are_shown_as_they_come(stages, capfd):
    stages("print('to stdout')", log=None)
    shown = capfd.readouterr()
    assert "trlt train " in shown.out and "to stdout\n" in shown.out and shown.err == ""


def test_a_failure_has_the_end_of_its_words_its_exit_code_and_the_log(stages, tmp_path):
    with pytest.raises(TrltError) as failed:
        stages("print('of the first command')", "print(*range(30), sep='\\n'); raise SystemExit('error: no such file')")
    said = str(failed.value)
    assert failed.value.exit_code == 1
    first, *tail = said.split("\n")
    assert first.endswith(f"ended with exit code 1; the end of {tmp_path / 'new' / 'demo.log'}:")
    assert tail == [*(f"  {number}" for number in range(11, 30)), "  error: no such file"]
    with pytest.raises(TrltError) as failed:
        stages("print('of the first command')", "raise SystemExit(7)")
    assert failed.value.exit_code == 7 and "of the first command" not in str(failed.value)


def test_the_last_line_is_the_state(stages, monkeypatch):
    shown = []

    class Shows(Output):
        def stages(self, names):
            from contextlib import nullcontext

            return nullcontext(lambda place, state: shown.append((place, state)))

    stages("import time; print('loading'); print('step 1 of 2'); time.sleep(0.3)", output=Shows())
    assert shown[0] == (0, "at work") and (0, "step 1 of 2") in shown and shown[-1] == (0, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_command_once_and_keeps_its_last_words(stages, tmp_path, number):
    """It has a session of its own, so that Ctrl-C in a terminal doesn't reach it twice."""
    log = tmp_path / "demo.log"

    def press():
        while not log.exists() or b"\nbegun\n" not in log.read_bytes():
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    threading.Thread(target=press, daemon=True).start()
    program = (
        "import time\ntry:\n  print('begun')\n  time.sleep(20)\nexcept KeyboardInterrupt:\n"
        "  print('interrupted: step 4 saved')\n  raise SystemExit(130)"
    )
    began = time.monotonic()
    with pytest.raises(Interrupted) as interrupted:
        stages(program, log=log)
    assert interrupted.value.signal == number and time.monotonic() - began < 10
    assert log.read_text().splitlines().count("interrupted: step 4 saved") == 1


def test_a_command_that_a_signal_ended_ends_the_demo_so(stages):
    with pytest.raises(Interrupted) as interrupted:
        stages("raise SystemExit(143)")
    assert interrupted.value.exit_code == 143


def test_what_a_command_has_left_behind_isnt_waited_for(stages):
    program = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(4)']); print('done')"
    began = time.monotonic()
    assert "done" in stages(program)
    assert time.monotonic() - began < 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a Linux device")
def test_a_full_disk_is_said_of_the_log(stages):
    with pytest.raises(OSError) as full:
        stages("print('x')", log=Path("/dev/full"))
    assert str(disk_error(full.value)).startswith("/dev/full: No space left on device; make room there")
