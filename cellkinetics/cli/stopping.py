"""Ctrl-C: whether it was pressed, also where the library has kept what was finished and gone on."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from rich.console import Console


@dataclass
class Listener:
    """Whether Ctrl-C was pressed while a command ran.

    `fit_each` and its kin swallow it and return what they have; an exit code of 0 would call that all.
    """

    heard: bool = False
    holding: bool = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Note each interrupt from here on, and raise KeyboardInterrupt as ever."""
        self.heard = self.holding = False
        if threading.current_thread() is not threading.main_thread():
            # Only the main thread may have a handler, and only it is interrupted.
            yield
            return
        before = signal.signal(signal.SIGINT, self._note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let what is finished be written first; whoever does not want that presses Ctrl-C once more."""
        self.holding = True
        try:
            yield
        finally:
            self.holding = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.heard = True
        if not self.holding:
            raise KeyboardInterrupt
        self.holding = False
        Console(stderr=True).print("Writing what is finished. Ctrl-C again writes nothing.")


ctrl_c = Listener()
