"""The place of a store: making one in a directory, and directories that can't hold one or its workers."""

from __future__ import annotations

import os

from jobq.errors import StoreDamaged, StoreForbidden
from jobq.store import environment, finished
from jobq.store.contents import Tables
from jobq.store.failures import Failures
from jobq.store.folder import Folder, sync_parents
from jobq.store.format import JOURNAL
from jobq.store.hint import HINT
from jobq.store.journal import Header
from jobq.store.lock import StoreLock
from jobq.store.logs import Logs
from jobq.store.snapshot import snapshot_lines
from jobq.store.state import Later
from jobq.system import NETWORK_FILESYSTEMS, filesystem
from jobq.version import VERSION

IGNORED = ".gitignore"


def make_store(path: str, folder: Folder | None, lock_timeout: float) -> Folder:
    """Make an empty store at `path`; `folder` is the directory if it exists. Raises StoreForbidden, NotSaved.

    Raises StoreDamaged if there has been one, whose journal is missing.
    """
    names = set(folder.names()) if folder is not None else set()
    if JOURNAL in names:
        names = set()  # another process, or thread, has made it since the caller looked
    if names & {HINT, finished.FINISHED, Logs.NAME}:
        raise StoreDamaged(f"{path}/{JOURNAL}", 0, "the journal is missing")
    if strangers := {name for name in names - {StoreLock.NAME} if not _may_precede_journal(folder, name)}:
        raise StoreForbidden(
            f"{path} is not a jobq store, and not empty (it holds {min(strangers)})",
            "name a missing or empty directory with --store or JOBQ_STORE",
        )
    if folder is None:
        folder = Folder.create(path)
        folder.check_private()
    sync_parents(path)
    with StoreLock(folder, lock_timeout) as lock:
        if JOURNAL not in folder.names():
            header = Header(1, os.urandom(16).hex(), os.uname().nodename, VERSION, {})
            empty = snapshot_lines([], Tables([], {}, [], []), 0, 1, Failures(0), Later([], {}))
            folder.write_new(JOURNAL, b"".join([header.encode(), *empty]))
    lock.close()
    return folder


def hide_from_git(folder: Folder) -> None:
    """Let git ignore a store in a project (gitignore(5)). Raises NotSaved."""
    if not folder.has(IGNORED):
        folder.write_new(IGNORED, b"*\n")


def _may_precede_journal(folder: Folder | None, name: str) -> bool:
    """Return True for what a power cut in the first `jobq add` may have left without a journal.

    Directories reach some disks in any order: a captured environment may be there before the journal is.
    """
    if name.startswith(f".{JOURNAL}."):
        return True
    if name != environment.ENV or folder is None or (env := folder.existing(name)) is None:
        return False
    try:
        return all(environment.digest_in(entry) for entry in env.names())
    finally:
        env.close()


def check_workers_place(path: str, header: Header | None) -> str:
    """Return the type of the network filesystem that holds the store, "" for a local one.

    Raises StoreForbidden for a worker on another machine than the one that made it: locks may not hold there, and
    nobody can see from one machine what runs on another.
    """
    kind = filesystem(os.path.realpath(path))
    if kind not in NETWORK_FILESYSTEMS:
        return ""
    host = os.uname().nodename
    if header is not None and header.host != host:
        raise StoreForbidden(
            f"the store {path} is on a network filesystem ({kind}) and was made on {header.host}",
            f"start workers on {header.host}, or use a store of your own on a local disk of {host}",
        )
    return kind
