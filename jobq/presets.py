"""Hooks that come with jobq: a notification, and a ping. A script for hooks, run by path; the standard library only.

    presets.py notify      shows the end of a job on the desktop, else in the terminal where it was added (OSC 9)
    presets.py ping URL    posts the last lines of its output to URL/start, URL or URL/fail

The variables JOBQ_JOB_* say of which job. Nothing is tried again.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from urllib.parse import urlsplit, urlunsplit

PATIENCE = 10.0  # seconds for a server, or a desktop
BODY = 10_000  # bytes of output
SUFFIX = {"start": "/start", "success": ""}


def told(name: str) -> str:
    """Return what the hook was told, without anything that a terminal could obey."""
    text = os.environ.get(f"JOBQ_JOB_{name}", "")
    return "".join(char if char.isprintable() else " " for char in text)


def message() -> tuple[str, str]:
    """Return the title and the text of a notification."""
    name = told("NAME") or f"job {told('ID')}"
    how = f" ({told('OUTCOME')})" if told("STATE") != "succeeded" and told("OUTCOME") else ""
    return f"{name} {told('STATE')}{how}", told("COMMAND")[:200]


def notify() -> int:
    """Show a notification. Return the exit code."""
    title, text = message()
    if shutil.which("notify-send") and (os.environ.get("DBUS_SESSION_BUS_ADDRESS") or os.environ.get("DISPLAY")):
        words = ["notify-send", "--app-name=jobq", "--", title, text]
    elif sys.platform == "darwin" and shutil.which("osascript"):
        script = "on run {title, body}\ndisplay notification body with title title\nend run"
        words = ["osascript", "-e", script, title, text]
    else:
        words = []
    if words:
        try:
            if subprocess.run(words, timeout=PATIENCE, check=False).returncode == 0:
                print(f"shown by {words[0]}: {title}: {text}")
                return 0
        except (OSError, subprocess.SubprocessError) as e:
            print(f"{words[0]}: {e}")
    return in_terminal(f"{title}: {text}")


def in_terminal(text: str) -> int:
    """Let the terminal where the job was added notify (OSC 9), if it is still there. Return the exit code."""
    path = os.environ.get("JOBQ_TTY", "")
    if not path:
        print(f"there is nobody to tell, neither a desktop nor a terminal: {text}")
        return 0
    try:
        fd = os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError as e:
        print(f"no desktop answers, and no terminal: {path}: {e.strerror}")
        return 1
    try:
        if not os.isatty(fd) or os.fstat(fd).st_uid != os.geteuid():
            print(f"{path} is no terminal of yours")
            return 1
        os.write(fd, f"\033]9;{text}\007".encode("utf-8", "replace"))
        print(f"sent to the terminal {path} (OSC 9, which not every one shows): {text}")
    finally:
        os.close(fd)
    return 0


def last_output() -> bytes:
    """Return the end of the job's output."""
    try:
        with open(os.environ.get("JOBQ_JOB_LOG", ""), "rb") as f:
            f.seek(max(0, os.fstat(f.fileno()).st_size - BODY))
            return f.read(BODY)
    except OSError:
        return b""


def ping(url: str) -> int:
    """Tell a server of the job. Return the exit code."""
    from urllib.error import URLError  # noqa: PLC0415
    from urllib.request import Request, urlopen  # noqa: PLC0415

    event = os.environ.get("JOBQ_HOOK", "")
    parts = urlsplit(url)
    target = urlunsplit(parts._replace(path=parts.path.rstrip("/") + SUFFIX.get(event, "/fail")))
    body = b"" if event == "start" else last_output()
    request = Request(target, data=body, headers={"User-Agent": "jobq"})  # noqa: S310  # `--ping` takes http alone
    try:
        with urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
            print(f"{target}: {answer.status} {answer.reason}")
    except (URLError, OSError, ValueError) as e:
        print(f"{target}: {e}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(ping(sys.argv[2]) if sys.argv[1] == "ping" else notify())
