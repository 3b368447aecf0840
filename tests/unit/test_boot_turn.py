"""Reboots of one host at a time."""

from __future__ import annotations

from pathlib import Path
from queue import Queue
from threading import Event, Thread

import pytest

from gpuwright.operations import boot_turn
from gpuwright.operations.boot_turn import turn


def test_a_second_host_says_that_it_waits_and_goes_on_when_the_first_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUWRIGHT_STATE_DIR", str(tmp_path))
    monkeypatch.setattr(boot_turn, "_LOOK_S", 0.01)
    said: Queue[str] = Queue()
    done = Event()

    def second() -> None:
        with turn(said.put):
            done.set()

    thread = Thread(target=second)
    with turn(said.put):
        thread.start()
        assert said.get(timeout=30) == "waits: another host reboots"
        assert not done.is_set()
    thread.join(timeout=30)
    assert done.is_set() and said.empty()


def test_a_turn_that_ends_in_an_error_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUWRIGHT_STATE_DIR", str(tmp_path))
    said: Queue[str] = Queue()
    with pytest.raises(RuntimeError), turn(said.put):
        raise RuntimeError
    with turn(said.put):
        assert said.empty()
