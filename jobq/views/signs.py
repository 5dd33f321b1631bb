"""Signs around the screen: the title and the progress of a tab (OSC 2, OSC 9;4), and links (OSC 8).

Only for terminals that are known to understand them; `terminal_signs = no` turns them off.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING
from urllib.parse import quote

from jobq.environ import variable
from jobq.settings.levels import values

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobq.job import Job
    from jobq.views.console import Stream
    from jobq.views.live import Overview

TITLED = ("xterm", "rxvt", "tmux", "screen", "alacritty", "foot", "kitty", "konsole", "st-", "wezterm", "ghostty")
SHOWING_PROGRESS = frozenset({"ghostty", "WezTerm", "iTerm.app"})  # names in TERM_PROGRAM
LINKING = SHOWING_PROGRESS | {"vscode", "Hyper", "rio"}
SAVE_TITLE, RESTORE_TITLE = "\x1b[22;2t", "\x1b[23;2t"
NORMAL, FAILING = 1, 2  # states of OSC 9;4


class Signs:
    """The signs of one terminal. Raises OutputFailed where it writes."""

    def __init__(self, stream: Stream, log_path: Callable[[int, int], str]) -> None:
        (on,) = values("terminal_signs")
        program = variable("TERM_PROGRAM")
        self._stream = stream
        self._log_path = log_path
        self._titles = on and variable("TERM").startswith(TITLED)
        self._progress = on and (program in SHOWING_PROGRESS or bool(variable("WT_SESSION")))
        vte = variable("VTE_VERSION")
        self._links = on and (
            program in LINKING
            or bool(variable("WT_SESSION") or variable("KITTY_WINDOW_ID") or variable("KONSOLE_VERSION"))
            or (vte.isdecimal() and int(vte) >= 5000)
        )
        self._shown: tuple[int, int, bool] | None = None

    def show(self, overview: Overview) -> None:
        """Show how many of the jobs are done."""
        done = overview.succeeded + overview.failed + overview.cancelled
        new = done, done + len(overview.running) + overview.queued, overview.failed > 0
        if new == self._shown or not (self._titles or self._progress):
            return
        _, whole, failing = new
        text = SAVE_TITLE if self._titles and self._shown is None else ""
        if self._titles:
            text += f"\x1b]2;jobq {done}/{whole}\x07"
        if self._progress:
            percent = 100 * done // whole if whole else 100
            text += f"\x1b]9;4;{FAILING if failing else NORMAL};{percent}\x07"
        self._shown = new
        self._stream.write(text)

    def end(self) -> None:
        """Take the signs back."""
        if self._shown is None:
            return
        self._shown = None
        self._stream.write((RESTORE_TITLE if self._titles else "") + ("\x1b]9;4;0;0\x07" if self._progress else ""))

    def link(self, job: Job) -> str:
        """Return the address of the job's log, "" where it can't be opened."""
        if not self._links or not job.attempts:
            return ""
        return f"file://{quote(socket.gethostname())}{quote(self._log_path(job.id, len(job.attempts)))}"
