"""Signals are kept until the end of a step; a second one does not wait."""

from __future__ import annotations

import os
import signal
import sys
import threading

import pytest

from atldas.common.interruption import Interruption

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_kept_for_the_end_of_the_step(number: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(number)
    done = []
    with Interruption() as interruption:
        assert not interruption.requested
        os.kill(os.getpid(), number)
        done.append("the rest of the step")
        assert interruption.requested
    assert done and signal.getsignal(number) is before
    assert "stopping after this step" in capsys.readouterr().err


def test_a_second_signal_stops_at_once_and_the_old_handlers_return() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), Interruption():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_another_thread_changes_no_handler() -> None:
    before, found = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with Interruption() as interruption:
            found.append((signal.getsignal(signal.SIGINT), interruption.requested))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(before, False)]
