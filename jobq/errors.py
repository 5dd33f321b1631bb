"""Everything that jobq says no with.

    JobqError
    ├── UsageError            2   the command line or the request is wrong
    ├── Refused               1   a fair request that the rules of the queue deny
    │   └── NotFound          1   no such job
    ├── StoreError
    │   ├── StoreDamaged     65   acknowledged bytes are missing or changed
    │   ├── NotSaved         74   the disk did not take it: nothing was changed
    │   │   └── SyncFailed   74   ... and may no longer be trusted
    │   ├── StoreReplaced    75   another directory is at the store's path by now
    │   ├── LockTimeout      75   somebody else holds the store
    │   │   └── JournalMoved 75   ... or has put other files into it
    │   ├── StoreForbidden   77   the store is not ours, or not private
    │   │   └── Planted      77   ... or something else lies in the place of one of its files
    │   └── StoreTooNew      78   written by a later version
    ├── CallFailed            1   the Python function of a job raised
    ├── EngineBroken         70   jobs can't be started at all
    ├── PythonGone           70   functions can't be called at all
    ├── OutputFailed         74   what was asked for can't be written to stdout
    └── WaitTimeout         124   not over within the time given

Each class takes the facts and writes the sentence; `hint` says what to do about it. The numbers are the exit codes
(65 and up as in BSD's sysexits.h).
"""

from __future__ import annotations

import errno


class JobqError(Exception):
    """Base of all; `str()` is one sentence for people, `hint` the next step or ""."""

    exit_code = 70

    def __init__(self, sentence: str, hint: str = "") -> None:
        super().__init__(sentence)
        self.hint = hint


class Interrupted(BaseException):
    """A signal asked the whole program to end; it does so by that signal, so that its caller can tell (SIGINT: ^C)."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class UsageError(JobqError):
    """The request itself is malformed."""

    exit_code = 2


class Refused(JobqError):
    """The request is well-formed, but the job is not in a state that allows it."""

    exit_code = 1


class NotFound(Refused):
    """No job answers to this id or name."""

    def __init__(self, what: str) -> None:
        super().__init__(f"there is no job {what}", "nothing was done; 'jobq list --all' shows every job")


class StoreError(JobqError):
    """Something about the files of the store."""


class StoreDamaged(StoreError):
    """Bytes that were acknowledged are gone or changed. Nothing was written."""

    exit_code = 65

    def __init__(self, path: str, offset: int, what: str) -> None:
        super().__init__(
            f"the store is damaged: {path}, byte {offset}: {what}",
            "nothing was changed; 'jobq doctor --accept-loss' goes on without what is damaged, and keeps a copy",
        )
        self.path, self.offset, self.what = path, offset, what


class NotSaved(StoreError):
    """The change could not be written; the store is as it was before.

    `undone`: False if the disk did not take even that. Then the change is not there now, but nobody knows what of it
    has reached the disk, and whether it is there after a power cut.
    """

    exit_code = 74

    def __init__(self, path: str, error: OSError, *, undone: bool = True) -> None:
        reason = error.strerror or str(error)
        hint = "nothing was changed; make room or mend the disk, then repeat"
        if not undone:
            hint = "mend the disk, and look with 'jobq' before you repeat it: some of it may have been written"
        elif error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
            hint = "nothing was changed; make it writable, or set JOBQ_STORE to a directory you may write"
        super().__init__(f"not saved: {path}: {reason}", hint)
        self.errno = error.errno


class SyncFailed(NotSaved):
    """The disk refused to make the change durable. It is never retried: the kernel has already dropped the pages."""


class LockTimeout(StoreError):
    """The store's lock was held by somebody else for the whole time allowed."""

    exit_code = 75

    def __init__(self, path: str, seconds: float, holder: str) -> None:
        super().__init__(f"the store was locked for {seconds:g} s by {holder}", f"try again; the lock is {path}")


class JournalMoved(LockTimeout):
    """The journal was replaced or removed by somebody else while it was written to: the change is in no store."""

    def __init__(self, path: str) -> None:
        StoreError.__init__(self, f"{path} was replaced while it was written to", "try again; nothing was changed")


class StoreReplaced(StoreError):
    """What this process has open is not the store at that path any more."""

    exit_code = 75

    def __init__(self, path: str) -> None:
        super().__init__(
            f"the store {path} was replaced by another one",
            "start the worker again; jobs that were running go on, and end under their supervisors",
        )


class StoreForbidden(StoreError):
    """The store can't be used safely, or not at all, by this user."""

    exit_code = 77


class Planted(StoreForbidden):
    """A link, a FIFO, a directory or a file of somebody else has the name of a file of the store."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"{path} is not a plain file that only you can have put there", "move it away; jobq did not make it"
        )


class StoreTooNew(StoreError):
    """The store needs a later jobq."""

    exit_code = 78

    def __init__(self, path: str, needs: int, knows: int, version: str) -> None:
        super().__init__(
            f"the store {path} has format {needs}, written by jobq {version}; this jobq knows formats up to {knows}",
            "upgrade this jobq, or name another store with --store; nothing was touched",
        )


class WaitTimeout(JobqError):
    """What was waited for is not over."""

    exit_code = 124


class EngineBroken(JobqError):
    """The process that stands beside a job can't be started, or speaks the protocol of another version."""


class PythonGone(JobqError):
    """The interpreter that jobq runs on was removed: by an upgrade, which puts another in its place, or for good."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path}, the Python of jobq itself, is gone: no function is called until it is back")


class OutputFailed(JobqError):
    """Data that was asked for did not reach stdout, though somebody may read it: a full disk, a closed descriptor."""

    exit_code = 74

    def __init__(self, reason: str) -> None:
        super().__init__(f"stdout {reason}", "what was printed is incomplete; mend that, then repeat the command")


class CallFailed(JobqError):
    """There is no result: `error` is what the function raised (type, message, traceback), or None."""

    exit_code = 1

    def __init__(self, job_id: int, state: str, error: dict[str, str] | None) -> None:
        why = f": {error['type']}: {error['message']}" if error else ""
        super().__init__(f"job {job_id} {state}{why}", f"'jobq log {job_id}'")
        self.error = error
