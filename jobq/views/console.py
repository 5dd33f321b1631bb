"""Where words go: data to stdout, talk to stderr. A reader that has gone away is not an error."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # as in `typing`: `jobq add` does without it
if TYPE_CHECKING:
    from typing import IO


def out(text: str) -> None:
    """One line (or several) of data."""
    _write(sys.stdout, text + "\n")


def write_now(text: str) -> None:
    """Write to stdout without its buffer, which a thread that is stuck would keep from everybody. Raises OSError."""
    if sys.stdout is None or sys.stdout.closed:
        return
    data = text.encode(sys.stdout.encoding or "utf-8", "backslashreplace")
    while data:
        data = data[os.write(sys.stdout.fileno(), data) :]


def out_bytes(data: bytes) -> None:
    """Bytes, untouched."""
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except (OSError, ValueError, AttributeError):
        _close(sys.stdout)


_store: str | None = None


def name_store(store: str) -> None:
    """From now on, the commands that we advise are those for this store, as it was given by --store."""
    global _store  # noqa: PLW0603
    _store = store


def advise(text: str) -> None:
    """One line of talk that names commands of ours, as in 'jobq worker'."""
    say(_for_our_store(text))


def _for_our_store(advice: str) -> str:
    if _store is None:
        return advice
    from shlex import quote  # noqa: PLC0415

    return advice.replace("'jobq ", f"'jobq --store {quote(_store)} ")


def say(text: str) -> None:
    """One line of talk."""
    talk(f"jobq: {text}")


def talk(text: str) -> None:
    """Lines of talk in somebody else's words."""
    _write(sys.stderr, f"{text}\n")


def complain(sentence: str, hint: str = "") -> None:
    """An error for people: one sentence, and what to do about it."""
    try:
        from jobq.views.text import safe  # noqa: PLC0415
    except (OSError, ImportError, MemoryError):  # there is no descriptor or memory left to load it

        def safe(text: str) -> str:
            return ascii(text)[1:-1]

    say(safe(sentence))
    if hint:
        talk(f"hint: {safe(_for_our_store(hint))}")


def unserved(why: str) -> None:
    """Say why what was added waits (`serving.why_unserved`), and what helps."""
    if not why.isprintable():
        from jobq.views.text import safe  # noqa: PLC0415

        why = safe(why)
    if why.endswith("?"):
        say(why)
    else:
        advise(f"{why}; 'jobq worker' starts {'another' if why.endswith('stopping') else 'one'}")


def is_terminal() -> bool:
    """Whether stdout is looked at by a person."""
    try:
        return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):
        return False


def gone() -> bool:
    """Whether what we print reaches nobody any more."""
    return sys.stdout is None or sys.stdout.closed


def _write(stream: IO[str] | None, text: str) -> None:
    if stream is None or stream.closed:
        return
    try:
        stream.write(text)
        stream.flush()
    except UnicodeEncodeError:
        stream.write(text.encode("ascii", "backslashreplace").decode("ascii"))
        stream.flush()
    except (OSError, ValueError):
        _close(stream)


def _close(stream: IO[str] | None) -> None:
    """Let nothing be flushed at exit into a pipe that nobody reads."""
    if stream is None or stream.closed:
        return
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, stream.fileno())
        stream.close()
    except (OSError, ValueError):
        pass
    finally:
        os.close(null)
