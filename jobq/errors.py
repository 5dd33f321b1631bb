"""The errors that jobq reports, as one tree.

    JobqError
    ├── UsageError            2   the command line or the request is malformed
    ├── Refused               1   the rules of the queue deny the request
    │   └── NotFound          1   no such job
    ├── StoreError
    │   ├── StoreDamaged     65   acknowledged bytes are missing or changed
    │   ├── NotSaved         74   the change could not be written; it was undone
    │   │   └── SyncFailed   74   ... or synced: the kernel may have dropped it
    │   ├── LockTimeout      75   another process holds the lock of the store
    │   │   └── JournalMoved 75   ... or has replaced the journal
    │   ├── StoreForbidden   77   the store is not the user's own, or not private
    │   │   └── Planted      77   ... or one of its files is not a regular file of the user
    │   └── StoreTooNew      78   a later version wrote the store
    ├── CallFailed            1   the Python function of a job raised
    ├── EngineBroken         70   no supervisor can be started or used
    ├── OutputFailed         74   data can't be written to stdout
    └── WaitTimeout         124   the jobs did not finish in the time given

A class takes the facts and writes the sentence; `hint` says what to do next. The numbers are the exit codes (65 to 78
as in BSD's sysexits.h, 124 as in timeout(1)). Each class here takes some of the time of `jobq add`, so errors that
no command and no program handles are in the modules that raise them.
"""

from __future__ import annotations

import errno

from jobq import exit_codes

NO_DIRECTORY = "the directory you are in does not exist any more"


class JobqError(Exception):
    """Base of all errors; `str()` is one sentence for people, `hint` the next step or ""."""

    exit_code = exit_codes.BUG

    def __init__(self, sentence: str, hint: str = "") -> None:
        super().__init__(sentence)
        self.hint = hint


class Interrupted(BaseException):
    """A signal asked the program to end. It ends by the same signal, so that its caller can tell (SIGINT: ^C)."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class UsageError(JobqError):
    """The command line or the request is malformed."""

    exit_code = exit_codes.USAGE


class Refused(JobqError):
    """The request is well-formed, but the state of the job or of the store does not allow it."""

    exit_code = exit_codes.FAILED


class NotFound(Refused):
    """No job has this id or name."""

    def __init__(self, what: str) -> None:
        super().__init__(f"there is no job {what}", "'jobq list --all' shows every job; nothing was changed")


class StoreError(JobqError):
    """Base of the errors about the files of the store."""


class StoreDamaged(StoreError):
    """Acknowledged bytes are missing or changed. Nothing was written."""

    exit_code = exit_codes.DAMAGED

    def __init__(self, path: str, offset: int, what: str) -> None:
        super().__init__(
            f"the store is damaged: {path}, byte {offset}: {what}",
            "'jobq doctor --accept-loss' drops the damaged part and keeps a copy; nothing was changed",
        )
        self.path, self.offset, self.what = path, offset, what


class NotSaved(StoreError):
    """The change could not be written; the store is as it was before.

    `undone`: False if undoing the write failed too. Then the change is not in the store now, but part of it may be on
    the disk and may come back after a power cut.
    """

    exit_code = exit_codes.NOT_SAVED

    def __init__(self, path: str, error: OSError, *, undone: bool = True) -> None:
        reason = error.strerror or str(error)
        hint = "free some space or repair the disk, then repeat; nothing was changed"
        if not undone:
            hint = "repair the disk, and check with 'jobq' before you repeat: part of it may have been written"
        elif error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
            hint = "make it writable, or set JOBQ_STORE to a directory you may write; nothing was changed"
        super().__init__(f"not saved: {path}: {reason}", hint)
        self.errno = error.errno


class SyncFailed(NotSaved):
    """The change could not be synced. It is never retried: the kernel may have dropped the pages already."""


class LockTimeout(StoreError):
    """Another process held the lock of the store for the whole time allowed."""

    exit_code = exit_codes.TRY_AGAIN

    def __init__(self, path: str, seconds: float, holder: str) -> None:
        super().__init__(f"the store was locked for {seconds:g} s by {holder}", f"try again; the lock file is {path}")


class JournalMoved(LockTimeout):
    """Another process replaced or removed the journal during the write: no store holds the change."""

    def __init__(self, path: str) -> None:
        StoreError.__init__(self, f"{path} was replaced while jobq wrote to it", "try again; nothing was changed")


class StoreForbidden(StoreError):
    """This user can't use the store, or can't use it safely."""

    exit_code = exit_codes.FORBIDDEN


class Planted(StoreForbidden):
    """A link, a FIFO, a directory or a file of another user has the name of a file of the store."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"{path} is not a regular file that only you can have created", "move it away; jobq did not create it"
        )


class StoreTooNew(StoreError):
    """The store needs a later version of jobq."""

    exit_code = exit_codes.TOO_NEW

    def __init__(self, path: str, needs: int, knows: int, version: str) -> None:
        super().__init__(
            f"the store {path} has format {needs}, written by jobq {version}; this jobq reads formats up to {knows}",
            "upgrade jobq, or name another store with --store; nothing was changed",
        )


class WaitTimeout(JobqError):
    """The jobs did not finish in the time given."""

    exit_code = exit_codes.TIMEOUT


class EngineBroken(JobqError):
    """A supervisor can't be started, or uses the protocol of another version."""


class OutputFailed(JobqError):
    """Data did not reach stdout, although its reader has not gone: a full disk, a closed descriptor."""

    exit_code = exit_codes.NOT_SAVED

    def __init__(self, reason: str) -> None:
        super().__init__(f"stdout {reason}", "fix that, then repeat the command; the output is incomplete")


class CallFailed(JobqError):
    """The job has no result. `error`: the exception of the function (type, message, traceback), or None."""

    exit_code = exit_codes.FAILED

    def __init__(self, job_id: int, state: str, error: dict[str, str] | None) -> None:
        why = f": {error['type']}: {error['message']}" if error else ""
        super().__init__(f"job {job_id} {state}{why}", f"see 'jobq log {job_id}'")
        self.error = error
