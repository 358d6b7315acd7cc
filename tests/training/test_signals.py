from __future__ import annotations

import os
import signal
import threading

import pytest

from latticegraph.training.signals import StopSignals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_is_remembered_and_handlers_come_back(number):
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    with StopSignals() as stop:
        assert stop.number is None
        os.kill(os.getpid(), number)
        assert stop.number == number
    assert {n: signal.getsignal(n) for n in before} == before


def test_second_sigint_interrupts_and_a_second_sigterm_does_not():
    with StopSignals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert stop.number == signal.SIGTERM


def test_another_thread_catches_nothing():
    seen = []

    def run():
        before = signal.getsignal(signal.SIGINT)
        with StopSignals() as stop:
            seen.append((signal.getsignal(signal.SIGINT) is before, stop.number))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [(True, None)]
