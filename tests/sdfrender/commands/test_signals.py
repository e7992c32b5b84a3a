"""SIGTERM while something is worth saving."""

import os
import signal
import sys
import threading
import time

import pytest

from sdfrender.commands.signals import interrupted_by_sigterm


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGTERM")
def test_a_first_sigterm_is_an_interruption_and_a_second_disturbs_nothing() -> None:
    before = signal.getsignal(signal.SIGTERM)
    saved = False
    with interrupted_by_sigterm():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        except KeyboardInterrupt:
            os.kill(os.getpid(), signal.SIGTERM)
            saved = True
    assert saved
    assert signal.getsignal(signal.SIGTERM) == before


def test_other_threads_leave_signals_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def work() -> None:
        with interrupted_by_sigterm():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
