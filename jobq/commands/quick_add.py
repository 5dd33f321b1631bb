"""The fast path of `jobq add`, with few imports: the store's part of it takes 2 ms.

It adds one command to a healthy store. The same table as in the full command reads the options (`options.table`), if
there are any, and the bytes in the store are the same; a test compares them. Everything else, above all a mistake, is
left to the full command before the journal is written.
"""

from __future__ import annotations

import os
import time

from jobq.environ import environment
from jobq.errors import JobqError, JournalMoved, NotSaved
from jobq.rules.serving import DEFAULT_QUEUE, paused_note, unserved_note
from jobq.sealed import seal, to_json
from jobq.settings.places import is_anything_set, store_path, strange_store
from jobq.store import presence
from jobq.store.environment import capture, make_durable, passed_on, save
from jobq.store.folder import Folder
from jobq.store.format import JOURNAL, PAUSED, is_todays
from jobq.store.hint import Hint, read_hint
from jobq.store.lock import ByFlock, StoreLock
from jobq.store.writer import LINE_BYTES, commit, transaction_lines
from jobq.system import current_umask, utf8
from jobq.views.console import acknowledge, advise, is_terminal, set_store_option

TYPE_CHECKING = False  # as in `typing`, which takes longer to load than all of this
if TYPE_CHECKING:
    from typing import Any

    Request = tuple[str | None, dict[str, Any], str | list[str]]  # the store, the options, the command

COMMON_UMASK = 0o022
LISTS = {":::", "::::"}  # of items for a template
LONG = 100_000  # characters; the full command checks the size of longer commands


def add(words: list[str]) -> bool:
    """Store the job of `words`, the arguments of jobq, and print its id. Return False if the full command must do it.

    Raises LockTimeout, NotSaved, SyncFailed: nothing is stored then.
    """
    try:
        request = read(words)
        if request is None:
            return False
        store, options, command = request
        if store is not None:
            set_store_option(store)
        elif strange_store() is not None:
            return False
        options = defaults() | options
        stored = stored_fields(options)
        if stored is None:
            return False
        fields, least_format = stored
        root = Folder.open(store_path(store))
        if root is None or not root.has(JOURNAL):
            return False
        root.check_private()
        spec = spec_record(options, fields, root)
    except NotSaved:
        raise  # a second sync could succeed without the bytes that the first one has lost
    except (JobqError, OSError, ValueError):
        return False  # the full command prints the error
    job_id = enqueue(root, spec, command, least_format)
    if job_id is None:
        return False
    presence.notify(root)
    acknowledge(str(job_id))
    try:
        queue = options.get("queue", DEFAULT_QUEUE)
        notes = paused_note(queue, pauses(root)), unserved_note(queue, presence.live(root))
    except (JobqError, OSError, ImportError):
        return True  # the job is stored; a missing warning is no failure
    for note in sorted(filter(None, notes)):
        advise(note)
    return True


def pauses(root: Folder) -> dict[str, str]:
    """Return the paused queues, and why."""
    if not root.has(PAUSED):
        return {}
    from jobq.store.pauses import read_note  # noqa: PLC0415

    return read_note(root)


def read(words: list[str]) -> Request | None:
    """Return the request of `[--store DIR] add [OPTION VALUE]... [--] COMMAND...`; None for all other words.

    Raises UsageError for a value that is not allowed.
    """
    store, rest = None, list(words)
    if rest and rest[0].startswith("--store="):
        store = rest.pop(0).partition("=")[2]
    elif rest[:1] == ["--store"] and len(rest) > 1:
        _, store = rest.pop(0), rest.pop(0)
    if store == "":
        return None
    if rest[:1] != ["add"]:
        return None
    del rest[0]
    texts = take_options(rest)
    if texts is None or not is_plain(rest):
        return None
    options = {}
    if texts:
        from jobq.options.table import parse_options  # noqa: PLC0415

        options = parse_options(texts, environment())
    command = [utf8(word) for word in rest]
    return store, options, command if len(command) > 1 else command[0]


def defaults() -> dict[str, Any]:
    """Return the options that the settings ask for. Raises UsageError."""
    if not is_anything_set():
        return {}
    from jobq.settings.levels import job_defaults  # noqa: PLC0415

    return job_defaults()


def take_options(words: list[str]) -> dict[str, Any] | None:
    """Remove the options from the start of the words; return their texts by name, or None for unknown ones."""
    texts: dict[str, Any] = {}
    while is_option(words):
        word = words.pop(0)
        if word == "--":
            break
        from jobq.options.table import BY_FLAG  # noqa: PLC0415  # not for an add without options

        if word.startswith("--"):
            flag, attached, text = word.partition("=")
        else:
            flag, attached, text = word[:2], word[2:], word[2:]
        option = BY_FLAG.get(flag)
        if option is None or not option.alone or not (attached or words):
            return None
        if not attached:
            text = words.pop(0)
        if text == "none" and option.setting:
            return None  # it takes back what the settings say
        if option.many:
            texts.setdefault(option.name, []).append(text)
        else:
            texts[option.name] = text
    return texts


def is_option(words: list[str]) -> bool:
    """Return True if the first word is an option, or the end of them."""
    return bool(words) and words[0].startswith("-") and words[0] != "-"


def stored_fields(options: dict[str, Any]) -> tuple[dict[str, Any], int] | None:
    """Return the fields of the spec that the options set, in their order, and the least format of a store with them.

    None if they need a look at other jobs or at files, or if there is something to say about them. Raises UsageError.
    """
    if not options:
        return {}, 1
    from jobq.options.table import BY_NAME, OPTIONS  # noqa: PLC0415

    rows = [BY_NAME[name] for name in options]
    if not all(row.alone for row in rows) or options.keys() >= {"at", "delay"} or is_to_tell(options.get("at")):
        return None
    values = {row.name: row.take(options[row.name]) for row in OPTIONS if row.in_spec and row.name in options}
    fields = {name: value for name, value in values.items() if value != BY_NAME[name].default}
    if values.keys() & {"delay", "expires"}:
        from jobq import clock  # noqa: PLC0415

        fields["asked"] = clock.now()
    return fields, max(row.since for row in rows)


def is_to_tell(at: float | None) -> bool:
    """Return True if there is something to say about a time of --at: to a person always, else if it is over."""
    return at is not None and (is_terminal() or at < time.time())


def is_plain(command: list[str]) -> bool:
    """Return True if this command needs no further check and no note."""
    if not command or not command[0].strip() or (len(command) > 1 and (" " in command[0] or LISTS & set(command))):
        return False
    return len(command) < LONG and sum(map(len, command)) < LONG and not any("\0" in word for word in command)


def spec_record(options: dict[str, Any], fields: dict[str, Any], root: Folder) -> dict[str, Any]:
    """Return the spec as it is stored, with these fields; save the environment that it names.

    Raises OSError if the directory does not exist, UsageError if the environment is too large, NotSaved.
    """
    directory = os.path.abspath(os.path.expanduser(options["cwd"])) if options.get("cwd") else os.getcwd()
    if not os.path.isdir(directory):
        raise NotADirectoryError(directory)
    environ, overrides = environment(), options.get("env", {})
    spec: dict[str, Any] = {"cwd": utf8(directory), "env": save(root, capture(environ, overrides))}
    umask = current_umask()
    if umask != COMMON_UMASK:
        spec["umask"] = umask
    spec |= fields
    if others := passed_on(environ, overrides):
        spec["vars"] = others
    return spec


def enqueue(root: Folder, spec: dict[str, Any], command: str | list[str], least_format: int) -> int | None:
    """Append the job to the journal. Return its id, or None if the store needs more than that. Raises as `add`."""
    with StoreLock(root, by=ByFlock):
        try:
            hint = read_hint(root)
            journal = root.file(JOURNAL, os.O_RDWR)
        except (JobqError, OSError):
            return None
        try:
            if hint is None or not is_in_order(journal, hint, least_format) or not make_durable(root, spec["env"]):
                return None
            op = {"op": "add", "first": hint.next_id, "spec": spec, "commands": [command]}
            lines = transaction_lines([(op, LINE_BYTES)], hint.seq, time.time(), sealed_line)
            commit(root, journal, hint, lines, hint.next_id + 1)
            return hint.next_id
        except JournalMoved:
            return None
        finally:
            os.close(journal)


def sealed_line(record: dict[str, Any]) -> bytes:
    """Return the record as a line of the journal."""
    return seal(to_json(record)[:-1].encode("ascii"))


def is_in_order(journal: int, hint: Hint, least_format: int) -> bool:
    """Return True if the journal has a current format, from that one on, and ends where the hint says."""
    first, newline, _ = os.pread(journal, 1 << 16, 0).partition(b"\n")
    if not newline or not is_todays(first, hint.generation, least_format) or os.fstat(journal).st_size != hint.size:
        return False
    return os.pread(journal, 1, hint.size - 1) == b"\n"
