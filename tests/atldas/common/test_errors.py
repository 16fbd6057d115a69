"""What a command ends with: 2 and one line for what the user can mend, a traceback for what only we can."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from atldas.common.errors import UserError, exit_status, require_one_process


def failing(error: BaseException) -> int:
    raise error


def test_the_status_of_a_command_is_its_own() -> None:
    assert exit_status(lambda: 0) == exit_status(lambda: None) == 0
    assert exit_status(lambda: 130) == 130


def test_a_fault_of_the_users_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status(lambda: failing(UserError("a.yaml: steps: expected 1 or more, got 0"))) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "error: a.yaml: steps: expected 1 or more, got 0\n")


def test_an_interruption_is_status_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status(lambda: failing(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_defect_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        exit_status(lambda: failing(ZeroDivisionError()))


@pytest.mark.parametrize(("identity", "size", "refused"), [("r", "2", True), ("r", "1", False), (None, "2", False)])
def test_torchrun_is_refused_only_with_several_processes(
    monkeypatch: pytest.MonkeyPatch, identity: str | None, size: str, refused: bool
) -> None:
    monkeypatch.setenv("WORLD_SIZE", size)
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    if identity:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", identity)
    if refused:
        with pytest.raises(UserError, match=r"^atldas show: .*torchrun"):
            require_one_process("atldas show")
    else:
        require_one_process("atldas show")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_of_the_output_may_leave(unbuffered: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    reader, writer = os.pipe()
    os.close(reader)
    code = "import sys; from atldas.common.errors import exit_status; sys.exit(exit_status(lambda: print('one')))"
    done = subprocess.run([sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_another_broken_pipe_is_a_defect() -> None:
    with pytest.raises(BrokenPipeError):
        exit_status(lambda: failing(BrokenPipeError()))
