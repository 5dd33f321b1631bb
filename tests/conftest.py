"""Fixtures of all tests: a store for each test, the real command, real workers, and no access to the user's home."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeVar

import pytest
from hypothesis import HealthCheck, settings

from jobq.api import Queue
from jobq.store import check
from jobq.store.store import Store
from tests.helpers.workers import tokens

T = TypeVar("T")
os.environ.pop(
    "PYTHONDONTWRITEBYTECODE", None
)  # jobq is started thousands of times: compiled once, it takes half as long
sys.dont_write_bytecode = False
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup(1), workers would inherit the ignored signal
# Other programs may slow the machine down.
settings.register_profile("jobq", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("jobq")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a script's background job: workers would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)  # ignored there, too
TIMEOUT = 30.0  # seconds; long, so that only a hang reaches it


# `Callable[..., T]`, because mypy rejects a lambda with defaults (`lambda n=n: ...`) for `Callable[[], T]`.
def wait_until(condition: Callable[..., T | Literal[False] | None], timeout: float = TIMEOUT) -> T:
    """Call `condition` until its value is true, and return that. Raises AssertionError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {condition}")
        time.sleep(0.005)
    return value


def command(words: Sequence[str]) -> list[bytes]:
    """Return the command line of jobq with these words, in UTF-8 whatever the locale of the tests."""
    return [os.fsencode(sys.executable), b"-m", b"jobq", *(word.encode("utf-8", "surrogateescape") for word in words)]


class Cli:
    """The real `jobq`, run as a process against one store."""

    def __init__(self, store: Path, cwd: Path) -> None:
        self.store = store
        self.cwd = cwd
        self.env = {**os.environ, "JOBQ_STORE": str(store)}
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *words: str, **options: object) -> subprocess.Popen[str]:
        """Start jobq and return at once; the end of the test stops it."""
        options = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "env": self.env,
            "cwd": self.cwd,
            "errors": "surrogateescape",
            **options,
        }
        process: subprocess.Popen[str] = subprocess.Popen(command(words), encoding="utf-8", **options)  # type: ignore[call-overload]
        self.started.append(process)
        return process

    def __call__(self, *words: str, stdin: str | None = None, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run jobq to its end; `code` is the expected exit code (None: any)."""
        done = subprocess.run(
            command(words),
            input="" if stdin is None else stdin,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            env=self.env,
            cwd=self.cwd,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert code is None or done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        return done

    def id(self, *words: str) -> int:
        """Add a job and return its id."""
        return int(self("add", *words).stdout)

    def worker(self, *words: str) -> subprocess.Popen[str]:
        """Start a worker, and return once it holds its lock."""
        before = set(tokens(self.queue))
        process = self.start("worker", *words)
        wait_until(lambda: set(tokens(self.queue)) - before or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        return process

    @property
    def queue(self) -> Queue:
        """The Python API of the same store."""
        return Queue(str(self.store))

    def stop(self) -> None:
        """Stop every process that still runs, and wait until its output is closed."""
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.send_signal(signal.SIGINT)  # a second TERM might merge with the first
        for process in self.started:
            process.communicate(timeout=TIMEOUT)


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture(autouse=True)
def no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store_path: Path) -> None:
    """Point the home, the state directory and the store of every test into its own folder."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("JOBQ_STORE", str(store_path))
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITLAB_CI", "TERM_PROGRAM", "VTE_VERSION"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def store(store_path: Path) -> Iterator[Store]:
    """A store, checked at the end of the test."""
    opened = Store(str(store_path))
    yield opened
    opened.close()
    assert_sound(store_path)


@pytest.fixture
def cli(store_path: Path, tmp_path: Path) -> Iterator[Cli]:
    """The command line on a store, checked at the end of the test."""
    command = Cli(store_path, tmp_path)
    yield command
    command.stop()
    assert_sound(store_path)


def assert_sound(path: Path) -> None:
    """Check all invariants of a store, as `jobq doctor` does."""
    fresh = Store(str(path))
    try:
        assert list(check.problems(fresh)) == []
    finally:
        fresh.close()
