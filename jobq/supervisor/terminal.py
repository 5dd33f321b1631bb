"""The terminal of a job with --pty: it runs the job in a pseudoterminal, and copies what that shows to the log.

Run by path, as the main process of the job: `python -I -S terminal.py INBOX PROGRAM ARG...`. It ends as the program
does. INBOX is a FIFO that it makes; what `jobq send` writes there is typed in the terminal. LINES and COLUMNS are its
size.

Every process of the job gets TERM, so it ignores that: the program decides, and KILL ends both (pty(7), signal(7)).
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import select
import signal
import stat
import struct
import sys
import termios

TYPE_CHECKING = False  # as in `typing`, which would take a third of the time to start
if TYPE_CHECKING:
    from typing import NoReturn

BLOCK = 1 << 16
MOST_TYPED = 1 << 16  # bytes that may wait to be read by the program
IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTTOU, signal.SIGPIPE)


def open_inbox(path: str) -> int:
    """Make the FIFO, and open it so that it never ends; return the descriptor. Raises OSError."""
    try:
        os.mkfifo(path, 0o600)
    except FileExistsError:
        pass
    fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    if not stat.S_ISFIFO(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EEXIST, "it is no FIFO", path)
    return fd


def number_of(name: str, usual: int) -> int:
    """Return the number in a variable, or the usual one if there is none that a terminal can have."""
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 5 and int(text) > 0 else usual


def open_terminal() -> tuple[int, int]:
    """Return the descriptors of a new terminal, the outer and the inner one. Lines end in a newline alone."""
    outer, inner = os.openpty()
    rows, columns = number_of("LINES", 24), number_of("COLUMNS", 80)
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    settings = termios.tcgetattr(inner)
    settings[1] &= ~termios.ONLCR  # or each line of the log would end in CR, too
    termios.tcsetattr(inner, termios.TCSANOW, settings)
    return outer, inner


def become(inner: int, argv: list[str]) -> NoReturn:
    """Turn this new process into the program, with the terminal as its own."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # which Python ignores
    os.setsid()
    fcntl.ioctl(inner, termios.TIOCSCTTY, 0)
    for fd in (0, 1, 2):
        os.dup2(inner, fd)
    environment = dict(os.environ)
    if environment.get("TERM", "dumb") == "dumb":
        environment["TERM"] = "xterm-256color"
    if "LC_CTYPE" in environment and not was_given("LC_CTYPE"):
        del environment["LC_CTYPE"]  # Python itself sets it in the C locale (PEP 538)
    try:
        os.execvpe(argv[0], argv, environment)  # noqa: S606
    except OSError as e:
        os.write(2, f"jobq: {argv[0]}: {e.strerror}\n".encode("utf-8", "surrogateescape"))
        os._exit(127 if e.errno == errno.ENOENT else 126)


def was_given(name: str) -> bool:
    """Return True if this process was started with that variable, or it can't be known."""
    try:
        with open("/proc/self/environ", "rb") as f:
            return any(entry.startswith(f"{name}=".encode()) for entry in f.read().split(b"\0"))
    except OSError:
        return True


def copy(outer: int, inbox: int, pid: int, ended: int) -> int:
    """Copy what the terminal shows, and type what is sent, until the program has ended; return its status.

    `ended`: readable after SIGCHLD. That nobody has the terminal open says nothing: the program may open it again.
    """
    os.set_blocking(outer, False)
    typed = b""
    while True:
        reading = [outer, inbox, ended] if len(typed) < MOST_TYPED else [outer, ended]
        ready, able, _ = select.select(reading, [outer] if typed else [], [])
        if ended in ready:
            os.read(ended, BLOCK)
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                while show(outer):
                    pass
                return status
        if inbox in ready:
            typed += os.read(inbox, BLOCK)
        if able:
            try:
                typed = typed[os.write(outer, typed) :]
            except BlockingIOError:
                pass
            except OSError:
                typed = b""
        if outer in ready:
            show(outer)


def show(outer: int) -> bool:
    """Copy what the terminal shows now; return False if there is no more."""
    try:
        data = os.read(outer, BLOCK)
    except OSError:  # nothing now, or EIO: the terminal was hung up
        return False
    keep(data)
    return bool(data)


def keep(data: bytes) -> None:
    """Write to the log, as far as it takes it: a full disk must not stop the program."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(1, rest) :]
        except OSError:
            return


def end_as(status: int) -> NoReturn:
    """End this process as the program has ended (waitpid(2))."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1)


def main() -> None:
    """Run the program in a terminal, and end as it does."""
    path, *argv = sys.argv[1:]
    inbox = open_inbox(path)
    outer, inner = open_terminal()  # the inner end stays open, or it would be lost while nobody has it open
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    pid = os.fork()
    if pid == 0:
        signal.set_wakeup_fd(-1)
        become(inner, argv)
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    status = copy(outer, inbox, pid, ended)
    try:
        os.unlink(path)
    except OSError:
        pass
    end_as(status)


if __name__ == "__main__":
    main()
