"""Run jobq commands as processes that are forked off one that has loaded jobq: they start quickly and can be killed."""

from __future__ import annotations

import json
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.conftest import Cli, wait_until
from tests.faults.case import environment
from tests.helpers.workers import tokens

PATIENCE = 120.0  # seconds that any one command may take

# Arguments: the descriptors of sockets. Each gets a client: a process that reads orders and runs one command at a time,
# in a fork. When the other end of the socket is closed (or its process dies), the client kills the command and ends.
ZYGOTE = """
import gc, importlib, json, os, pkgutil, select, signal, socket, sys, tempfile, time, traceback
import jobq.__main__, jobq.cli, jobq.commands, jobq.worker.signals, jobq.views, jobq.worker.loop, typer
from jobq import clock
from jobq.store.compaction import compact
from jobq.store.store import Store
for package in (jobq.commands, jobq.views):
    for found in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        importlib.import_module(found.name)
app = typer.main.get_command(jobq.cli.app_for([]))  # built once: it takes as long as all the rest of a command
jobq.cli.app_for = lambda words: app
gc.freeze()

def run(words, out, err):
    code = 70
    try:
        os.setsid()
        for fd, to in enumerate((os.open(os.devnull, os.O_RDONLY), out, err)):
            os.dup2(to, fd)
        os.closerange(3, 1024)
        if words[:1] == ["compact"]:
            compact(os.environ["JOBQ_STORE"], clock.now())
            code = 0
        elif words[:1] == ["keep-lock"]:
            store = Store(os.environ["JOBQ_STORE"])
            with store.lock:
                time.sleep(float(words[1]))
            code = 0
        else:
            jobq.__main__.take_over()
            code = jobq.__main__.outcome(words)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

def now():
    return time.clock_gettime(time.CLOCK_BOOTTIME)

def follow(pid, orders, kill_after):
    handle = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    poll.register(orders, select.POLLIN)
    while True:
        ready = [fd for fd, _ in poll.poll(None if kill_after is None else kill_after * 1000)]
        if handle in ready:
            os.close(handle)
            return
        order = os.read(orders, 1) if ready else b""
        kill_after = None
        os.kill(pid, order[0] if order else signal.SIGKILL)
        if ready and not order:
            poll.unregister(orders)

def client(connection):
    stream = connection.makefile("rwb", buffering=0)
    for line in stream:
        order = json.loads(line[line.index(b"{"):])  # behind signals for a command that was over
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            invoked = now()
            pid = os.fork()
            if pid == 0:
                run(order["words"], out.fileno(), err.fileno())
            stream.write(b"%d\\n" % pid)
            follow(pid, connection.fileno(), order["kill_after"])
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            acked = now()
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode(errors="replace"))
        stream.write(json.dumps([code, *texts, invoked, acked]).encode() + b"\\n")

connections = [socket.socket(fileno=int(fd)) for fd in sys.argv[1:]]
for connection in connections:
    if os.fork() == 0:
        try:
            client(connection)
        except (OSError, ValueError):
            pass  # the socket was closed
        os._exit(0)
for connection in connections:
    connection.close()
    os.wait()
"""


def boot_now() -> float:
    """Return the seconds since boot."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Done(NamedTuple):
    """A command that has ended, and its result; times are seconds since boot."""

    words: tuple[str, ...]
    code: int
    out: str
    err: str
    invoked: float
    acked: float

    def __str__(self) -> str:
        return f"jobq {' '.join(self.words)} -> {self.code}: {self.err.strip()[-600:]}"


class Client:
    """A process that runs commands one at a time, each in its own process."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        connection.settimeout(PATIENCE)
        self._answers = connection.makefile("r")
        self._words: tuple[str, ...] = ()
        self.pid = 0

    def __call__(self, *words: str, kill_after: float | None = None) -> Done:
        """Run the command to its end; kill it after `kill_after` seconds."""
        self.start(*words, kill_after=kill_after)
        return self.wait()

    def start(self, *words: str, kill_after: float | None = None) -> None:
        """Start a command: words for jobq, "compact", or "keep-lock SECONDS", which holds the lock as a slow disk does."""
        self._words = words
        self._connection.sendall(json.dumps({"words": words, "kill_after": kill_after}).encode() + b"\n")
        self.pid = int(self._answers.readline())

    def signal(self, number: int) -> None:
        """Signal the command; do nothing if it has ended."""
        self._connection.sendall(bytes([number]))

    def kill(self) -> None:
        """KILL the command, and wait for its end."""
        self.signal(signal.SIGKILL)
        self.wait()

    def is_over(self) -> bool:
        """Return True if the command has ended by itself; then `wait` returns at once."""
        return bool(select.select([self._connection], [], [], 0)[0])

    def wait(self) -> Done:
        """Wait for the command to end; return its result. Raises TimeoutError after PATIENCE seconds."""
        try:
            return Done(self._words, *json.loads(self._answers.readline()))
        except OSError:  # later reads of a socket that has timed out are no TimeoutError
            where = Path(f"/proc/{self.pid}/wchan").read_text()
            raise TimeoutError(
                f"jobq {' '.join(self._words)} has not ended after {PATIENCE} s; it waits in {where}"
            ) from None

    def close(self) -> None:
        """End the client, and kill its command."""
        self._answers.close()
        self._connection.close()


@contextmanager
def clients(store: Path, count: int) -> Iterator[list[Client]]:
    """Run `count` clients for this store; end them on exit."""
    ours, theirs = zip(*(socket.socketpair() for _ in range(count)), strict=True)
    fds = [end.fileno() for end in theirs]
    process = subprocess.Popen(
        [sys.executable, "-c", ZYGOTE, *map(str, fds)], env=environment(store), cwd="/", pass_fds=fds
    )
    for end in theirs:
        end.close()
    made = [Client(end) for end in ours]
    try:
        yield made
    finally:
        for client in made:
            client.close()
        process.wait(PATIENCE)


@contextmanager
def workers_to_kill(cli: Cli, count: int, *words: str) -> Iterator[list[Client]]:
    """Run `count` workers with these options; they are killed on exit."""
    with clients(cli.store, count) as workers:
        for worker in workers:
            worker.start("worker", *words)
        wait_until(lambda: len(tokens(cli.queue)) == count)
        yield workers
        for worker in workers:
            worker.kill()
