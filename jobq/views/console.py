"""Where words go: data to stdout, talk to stderr. All text passes `safe` here, last thing before it is written.

A reader that has gone away (EPIPE) is not an error. Anything else that keeps data from stdout is: `OutputFailed`. What
can't be written to stderr is lost, whatever the reason: there is nowhere left to say so.
"""

from __future__ import annotations

import errno
import os
import sys

from jobq.errors import OutputFailed

ENCODING = sys.getfilesystemencoding()  # of the terminal: the locale's, not that of PYTHONIOENCODING
ERRORS = "backslashreplace"
PLAIN = {ord("…"): "~", ord("·"): "-"}  # for encodings that lack them, as wide as they are


class Stream:
    """stdout or stderr, as a file to print to. Descriptors are written directly: no buffer loses what it holds."""

    encoding, errors = ENCODING, ERRORS

    def __init__(self, fd: int, *, raw: bool = False) -> None:
        """`raw`: text reaches the terminal as it is. Only for what is composed here, of harmless parts."""
        self.fd = fd
        self.raw = raw
        self.stdout_closed = False  # nobody reads it any more

    def write(self, text: str) -> int:
        """Print text, made harmless line by line. Raises OutputFailed."""
        self.put(encoded(text if self.raw else "\n".join(map(harmless, text.split("\n")))))
        return len(text)

    def put(self, data: bytes) -> None:
        """Write all of the bytes, however slow the reader. Raises OutputFailed; never for stderr."""
        rest = memoryview(data)
        while rest and not self.stdout_closed:
            try:
                rest = rest[os.write(self.fd, rest) :]
            except BlockingIOError:
                wait_until_writable(self.fd)
            except BrokenPipeError:
                self.stdout_closed = True
            except OSError as e:
                if self.fd == 2:
                    return
                raise OutputFailed("is closed" if e.errno == errno.EBADF else f"can't be written: {e.strerror}") from e

    def flush(self) -> None:
        """Nothing is held back."""

    def fileno(self) -> int:
        """The descriptor."""
        return self.fd

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self.fd)


stdout, stderr = Stream(1), Stream(2)
drawing = Stream(1, raw=True)  # for tables whose cells are harmless, and codes of ours that move and colour


def wait_until_writable(fd: int) -> None:
    """Somebody else has made the pipe non-blocking, for everybody who has it."""
    import select  # noqa: PLC0415

    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    poll.poll()


def take_over() -> None:
    """Have everybody print here: the option parser and tracebacks, too."""
    sys.stdout, sys.stderr = stdout, stderr


def encoded(text: str) -> bytes:
    """The bytes for a terminal of this locale. What it does not have is replaced."""
    try:
        return text.encode(ENCODING)
    except UnicodeEncodeError:
        return text.translate(PLAIN).encode(ENCODING, ERRORS)


def harmless(text: str) -> str:
    """One line, with everything escaped that a terminal would obey."""
    if text.isascii() and text.isprintable():
        return text
    try:
        from jobq.views.text import safe  # noqa: PLC0415
    except (OSError, ImportError, MemoryError):  # there is no descriptor or memory left to load it
        return ascii(text)[1:-1]
    return safe(text)


def out(*lines: str) -> None:
    """Lines of data. Raises OutputFailed."""
    stdout.put(encoded("".join(f"{harmless(line)}\n" for line in lines)))


def acknowledge(ids: str) -> None:
    """The ids of new jobs. They are stored, so nothing that happens to stdout now is a failure of the command."""
    try:
        out(ids)
    except OutputFailed as e:
        info(f"added {ids}; {e}")


def out_bytes(data: bytes) -> None:
    """Bytes, untouched. Raises OutputFailed."""
    stdout.put(data)


_store: str | None = None


def set_store_option(store: str) -> None:
    """From now on, the commands that we advise are those for this store, as it was given by --store."""
    global _store  # noqa: PLW0603
    _store = store


def advise(text: str) -> None:
    """One line of talk that names commands of ours, as in 'jobq worker'."""
    info(_for_our_store(text))


def _for_our_store(advice: str) -> str:
    if _store is None:
        return advice
    from shlex import quote  # noqa: PLC0415

    return advice.replace("'jobq ", f"'jobq --store {quote(_store)} ")


def info(text: str) -> None:
    """One line of talk."""
    to_stderr(f"jobq: {text}")


def to_stderr(*lines: str) -> None:
    """Lines of talk in somebody else's words."""
    stderr.put(encoded("".join(f"{harmless(line)}\n" for line in lines)))


def job_output_to_stderr(*lines: str) -> None:
    """Lines of a job's output, which `views.output` has made harmless, colours and all."""
    stderr.put(encoded("".join(f"{line}\n" for line in lines)))


def error(sentence: str, hint: str = "") -> None:
    """An error for people: one sentence, and what to do about it."""
    info(sentence)
    if hint:
        to_stderr(f"hint: {_for_our_store(hint)}")


def unserved(why: str) -> None:
    """Say why what was added waits (`serving.why_unserved`), and what helps."""
    if not why.isprintable():
        from jobq.views.text import safe  # noqa: PLC0415

        why = safe(why)
    if why.endswith(("?", "continues it")):
        info(why)
    else:
        advise(f"{why}; 'jobq worker' starts {'another' if why.endswith('stopping') else 'one'}")


def is_terminal() -> bool:
    """Whether stdout is looked at by a person."""
    return stdout.isatty() and os.environ.get("TERM") != "dumb"


def stdout_closed() -> bool:
    """Whether what we print reaches nobody any more."""
    return stdout.stdout_closed
