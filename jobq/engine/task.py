"""What an engine is told about an attempt, and what it tells back."""

from __future__ import annotations

from typing import NamedTuple

from jobq.job import Attempt, Ending


class Key(NamedTuple):
    """One attempt of one job."""

    job_id: int
    n: int


class Task(NamedTuple):
    """All that is needed to run one attempt. Seconds; absolute paths."""

    key: Key
    attempt: Attempt
    command: str | tuple[str, ...]  # a shell line or an argv
    cwd: str
    umask: int
    env_file: str
    variables: dict[str, str]  # on top of the environment
    log: str
    timeout: float | None
    grace: float
    log_max: int  # bytes
    boot_id: str
    once: bool = False  # it must not be started again, whatever happens


class Ended(NamedTuple):
    """An attempt is over."""

    key: Key
    ending: Ending
