"""Printing: data to stdout, messages to stderr. Text is made harmless here (`text.safe`) just before it is written.

A reader that has gone (EPIPE) is not an error. Any other failure to write to stdout is one: `OutputFailed`. A failure
to write to stderr is ignored: there is no other place to report it.
"""

from __future__ import annotations

import errno
import os
import sys

from jobq.errors import OutputFailed
from jobq.views import ENCODING, ERRORS

PLAIN = str.maketrans(
    "…·━╍└├─│●○⏸✓✗⊘↻█░", "~-=:`|-|*o=+#/~#."
)  # for encodings without these characters; the width is the same


class Stream:
    """A file for stdout or stderr. It writes to the descriptor directly, so that no buffer can lose its content."""

    encoding, errors = ENCODING, ERRORS

    def __init__(self, fd: int, *, raw: bool = False) -> None:
        """`raw`: print text unchanged. Only for text that jobq composes of harmless parts."""
        self.fd = fd
        self.raw = raw
        self.stdout_closed = False  # its reader has gone

    def write(self, text: str) -> int:
        """Make the text harmless line by line, and print it. Raises OutputFailed."""
        self.put(encoded(text if self.raw else "\n".join(map(harmless, text.split("\n")))))
        return len(text)

    def put(self, data: bytes) -> None:
        """Write all bytes, and wait for a slow reader. Raises OutputFailed, but never for stderr."""
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
        """Do nothing: there is no buffer."""

    def fileno(self) -> int:
        """Return the descriptor."""
        return self.fd

    def isatty(self) -> bool:
        """Return True if it is a terminal."""
        return os.isatty(self.fd)


stdout, stderr = Stream(1), Stream(2)
drawing = Stream(1, raw=True)  # for tables with harmless cells, and for control codes of jobq itself


def wait_until_writable(fd: int) -> None:
    """Wait until a non-blocking descriptor takes more. Another process may have made the shared pipe non-blocking."""
    import select  # noqa: PLC0415

    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    poll.poll()


def take_over() -> None:
    """Replace sys.stdout and sys.stderr, so that the option parser and tracebacks print through these streams."""
    sys.stdout, sys.stderr = stdout, stderr


def encoded(text: str) -> bytes:
    """Encode text for this locale. Characters that it lacks are replaced."""
    try:
        return text.encode(ENCODING)
    except UnicodeEncodeError:
        return text.translate(PLAIN).encode(ENCODING, ERRORS)


def harmless(text: str) -> str:
    """Return the line with every control character escaped."""
    if text.isascii() and text.isprintable():
        return text
    try:
        from jobq.views.text import safe  # noqa: PLC0415
    except (OSError, ImportError, MemoryError):  # too few descriptors or too little memory to load it
        return ascii(text)[1:-1]
    return safe(text)


def out(*lines: str) -> None:
    """Print lines of data to stdout. Raises OutputFailed."""
    stdout.put(encoded("".join(f"{harmless(line)}\n" for line in lines)))


def acknowledge(ids: str) -> None:
    """Print the ids of new jobs. The jobs are stored, so a failure of stdout does not make the command fail."""
    try:
        out(ids)
    except OutputFailed as e:
        info(f"added {ids}; {e}")


def out_bytes(data: bytes) -> None:
    """Print bytes unchanged to stdout. Raises OutputFailed."""
    stdout.put(data)


_store: str | None = None


def set_store_option(store: str) -> None:
    """Set the store that was given by --store: the commands in later hints name it."""
    global _store  # noqa: PLW0603
    _store = store


def advise(text: str) -> None:
    """Print a line to stderr that names commands of jobq, as in 'jobq worker'."""
    info(for_our_store(text))


def for_our_store(advice: str) -> str:
    """Return advice whose commands name the store that was given by --store."""
    if _store is None:
        return advice
    from shlex import quote  # noqa: PLC0415

    return advice.replace("'jobq ", f"'jobq --store {quote(_store)} ")


_quiet = False
_json_errors = False
_color = "auto"
SGR = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


def be_quiet() -> None:
    """Print no notes from now on; errors still."""
    global _quiet  # noqa: PLW0603
    _quiet = True


def print_errors_as_json() -> None:
    """Print each error as one line of JSON from now on."""
    global _json_errors  # noqa: PLW0603
    _json_errors = True


def set_color(mode: str) -> None:
    """Use colours: auto, always or never."""
    global _color  # noqa: PLW0603
    _color = mode


def coloured(stream: Stream) -> bool:
    """Return True if this stream gets colours: by --color, NO_COLOR, FORCE_COLOR, or as it is a terminal."""
    if _color != "auto":
        return _color == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR") or os.environ.get("CLICOLOR_FORCE", "0") != "0":
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def painted(text: str, style: str) -> str:
    """Return harmless text in a style ("red", "bold"), for `draw`; unchanged where stdout gets no colours."""
    return f"\x1b[{SGR[style]}m{text}\x1b[0m" if style in SGR and coloured(stdout) else text


def draw(*lines: str) -> None:
    """Print lines of harmless text that may hold our own colours. Raises OutputFailed."""
    drawing.write("".join(f"{line}\n" for line in lines))


def info(text: str) -> None:
    """Print a note to stderr, unless nobody wants to read notes."""
    if not _quiet:
        to_stderr(f"jobq: {text}")


def to_stderr(*lines: str) -> None:
    """Print lines to stderr without a prefix."""
    stderr.put(encoded("".join(f"{harmless(line)}\n" for line in lines)))


def job_output_to_stderr(*lines: str) -> None:
    """Print lines of a job's output to stderr. `views.output` has made them harmless; they may hold colours."""
    stderr.put(encoded("".join(f"{line}\n" for line in lines)))


def job_bytes_to_stderr(data: bytes) -> None:
    """Print a job's stderr unchanged to stderr, as if the job had it."""
    stderr.put(data)


def error(sentence: str, hint: str = "") -> None:
    """Print an error: one sentence, and a hint about the next step."""
    if _json_errors:
        from jobq.views.envelope import envelope  # noqa: PLC0415

        told = {"message": for_our_store(sentence), "hint": for_our_store(hint) or None}
        to_stderr(envelope(error=told))
        return
    to_stderr(f"error: {for_our_store(sentence)}")
    if hint:
        to_stderr(f"hint: {for_our_store(hint)}")


def is_terminal() -> bool:
    """Return True if stdout is a terminal that understands control codes."""
    return stdout.isatty() and os.environ.get("TERM") != "dumb"


def stdout_closed() -> bool:
    """Return True if the reader of stdout has gone."""
    return stdout.stdout_closed
