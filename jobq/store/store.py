"""The one door to the files: `read` (no lock, no write), `update` (exclusive, all or nothing), `enqueue` (blind, O(1)).

A change is decided under the lock on the state as it is then, appended as one transaction, synced, and acknowledged by
returning. Readers go by the hint and see nothing that is not synced.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence

from jobq.errors import JobqError, NotFound, NotSaved, StoreDamaged, StoreForbidden, StoreTooNew
from jobq.job import BadRecord, Command, Job, Record, Spec
from jobq.store import environment, finished, workers
from jobq.store.folder import Folder, make_private_dir
from jobq.store.jobs import Add, Change, Jobs, add_ops, transaction
from jobq.store.journal import (
    FORMAT,
    HINT,
    JOURNAL,
    BadLine,
    Header,
    Hint,
    Journal,
    decode_line,
    parse_lines,
    read_hint,
    write_hint,
)
from jobq.store.lock import StoreLock
from jobq.version import VERSION

RUNS = "runs"
OURS_BEFORE_INIT = frozenset({StoreLock.NAME})


class Store:
    """One store directory. Not shared between threads; opening is lazy, and reading makes nothing."""

    def __init__(self, path: str, *, lock_timeout: float = 10.0) -> None:
        self.path = os.path.abspath(path)
        self.jobs = Jobs()
        self._lock_timeout = lock_timeout
        self._folder: Folder | None = None
        self._lock: StoreLock | None = None
        self._journal: Journal | None = None
        self._offset = 0  # how far the journal is applied to `jobs`
        self._snapshot_end = 0

    # -- opening ---------------------------------------------------------------------------------

    @property
    def root(self) -> Folder:
        """The directory, made and initialized if need be. Raises StoreForbidden, NotSaved."""
        if self._folder is None or self._lock is None:
            folder = self._existing()
            if folder is None or JOURNAL not in (names := set(folder.names())):
                folder = self._make(folder, names if folder else set())
            self._folder = folder
            self._lock = StoreLock(folder, self._lock_timeout)
        return self._folder

    def _existing(self) -> Folder | None:
        if self._folder is None:
            folder = Folder.open(self.path)
            if folder is None:
                return None
            folder.check_private()
            self._folder = folder
        return self._folder

    def _make(self, folder: Folder | None, names: set[str]) -> Folder:
        if names & {HINT, finished.FINISHED, RUNS}:
            raise StoreDamaged(f"{self.path}/{JOURNAL}", 0, "the journal is missing")
        if strangers := {name for name in names - OURS_BEFORE_INIT if not name.startswith(f".{JOURNAL}.")}:
            raise StoreForbidden(
                f"{self.path} is not a jobq store, and not empty (it holds {min(strangers)})",
                "name a missing or empty directory with --store or JOBQ_STORE",
            )
        if folder is None:
            folder = Folder.create(self.path)
            folder.check_private()
        with StoreLock(folder, self._lock_timeout):
            if JOURNAL not in folder.names():
                header = Header(1, uuid.uuid4().hex, os.uname().nodename, VERSION, {})
                empty = b"".join([header.encode(), *Jobs().snapshot()])
                folder.write_new(JOURNAL, empty)
        return folder

    def close(self) -> None:
        """Release all descriptors."""
        if self._journal is not None:
            self._journal.close()
        if self._lock is not None:
            self._lock.close()
        if self._folder is not None:
            self._folder.close()
        self._folder = self._lock = self._journal = None

    # -- reading ---------------------------------------------------------------------------------

    def read(self) -> Jobs:
        """The jobs as last acknowledged; empty where there is no store yet.

        Raises StoreDamaged, StoreTooNew, StoreForbidden.
        """
        folder = self._existing()
        if folder is None:
            return self.jobs
        try:
            self._catch_up(folder)
        except StoreDamaged:
            self._forget()  # perhaps a write under way was caught: look once more, from the start
            self._catch_up(folder)
        return self.jobs

    def _forget(self) -> None:
        if self._journal is not None:
            self._journal.close()
        self._journal, self._offset = None, 0

    def _catch_up(self, folder: Folder) -> None:
        hint = read_hint(folder)
        journal = self._journal
        if journal is None or not self._offset:
            self._forget()
            self._load(folder, hint)
        elif hint is not None and hint.generation == journal.header.generation:
            self._follow(hint.size)
        elif journal.is_current():
            self._follow(None)
        else:
            self._follow(None)  # the old generation to its very end
            self._change_generation(folder, hint)

    def _load(self, folder: Folder, hint: Hint | None) -> None:
        journal = Journal.open(folder, writable=os.access(self.path, os.W_OK))
        if journal is None:
            if hint is not None:
                raise StoreDamaged(f"{self.path}/{JOURNAL}", 0, "the journal is missing")
            return
        try:
            jobs, at = load_snapshot(journal)
        except BaseException:
            journal.close()
            raise
        self._journal, self.jobs, self._offset, self._snapshot_end = journal, jobs, at, at
        same = hint is not None and hint.generation == journal.header.generation
        if hint is not None and hint.generation > journal.header.generation and journal.is_current():
            raise StoreDamaged(journal.path, 0, f"generation {hint.generation} was acknowledged and is missing")
        self._follow(hint.size if same and hint is not None else None)

    def _follow(self, end: int | None) -> list[Record]:
        """Apply the journal up to `end`, all of which was acknowledged; None: up to the last whole transaction."""
        journal = self._journal
        assert journal is not None
        if end is not None and end < self._offset:
            raise StoreDamaged(journal.path, end, "acknowledged bytes are missing")
        if end == self._offset:
            return []
        data = journal.read(self._offset, end)
        if end is not None and len(data) < end - self._offset:
            missing = end - self._offset - len(data)
            raise StoreDamaged(journal.path, self._offset + len(data), f"{missing} acknowledged bytes are missing")
        parsed = parse_lines(data, self._offset, self.jobs.seq)
        if parsed.damage is not None:
            raise StoreDamaged(journal.path, *parsed.damage)
        if end is not None and parsed.end != end:
            raise StoreDamaged(journal.path, parsed.end, "an acknowledged line is not readable")
        for line in parsed.lines:
            try:
                self.jobs.apply(line)
            except BadRecord as e:
                raise StoreDamaged(journal.path, self._offset, f"line {line.get('seq')}: {e}") from None
        self._offset = parsed.end
        return parsed.lines

    def _change_generation(self, folder: Folder, hint: Hint | None) -> None:
        """Go on in the journal that compaction has put in the place of ours, without reading its snapshot."""
        old = self._journal
        assert old is not None
        new = Journal.open(folder, writable=os.access(self.path, os.W_OK))
        if new is None:
            raise StoreDamaged(old.path, 0, "the journal is missing")
        generation = old.header.generation + 1
        if new.header.generation != generation or hint is None or hint.generation != generation:
            new.close()
            self._forget()
            self._load(folder, hint)
            return
        copied = parse_lines(new.read(hint.snapshot_end, hint.size), hint.snapshot_end, new_base_seq(new, hint))
        if copied.damage or copied.end != hint.size:
            new.close()
            raise StoreDamaged(old.path, copied.end, "an acknowledged line is not readable")
        applied = self.jobs.seq
        touched = {op.get("id") for line in copied.lines if line["seq"] <= applied for op in line["ops"]}
        touched |= {op["job"]["id"] for line in copied.lines for op in line["ops"] if op["op"] == "put"}
        self.jobs.leave_finished(touched)
        for line in copied.lines:
            if line["seq"] > applied:
                self.jobs.apply(line)
        old.close()
        self._journal, self._offset, self._snapshot_end = new, hint.size, hint.snapshot_end

    # -- finished jobs -----------------------------------------------------------------------------

    def _finished_sizes(self) -> dict[str, int]:
        return self._journal.header.finished if self._journal is not None else {}

    def find(self, job_id: int) -> Job | None:
        """The job of that id, finished long ago or not; call `read` first."""
        job = self.jobs.by_id.get(job_id)
        if job is not None or self._folder is None or job_id in self.jobs.removed:
            return job
        return finished.find(self._folder, self._finished_sizes(), job_id)

    def get(self, job_id: int) -> Job:
        """Like `find`. Raises NotFound."""
        job = self.find(job_id)
        if job is None:
            raise NotFound(str(job_id))
        return job

    def finished_jobs(self) -> Iterator[Job]:
        """All finished jobs, the last one first; reads no more than is asked for. Call `read` first."""
        recent = [job for job in self.jobs.by_id.values() if job.state.final]
        recent.sort(key=lambda job: (job.finished_at or 0.0, job.id), reverse=True)
        yield from recent
        if self._folder is not None:
            for job in finished.newest_first(self._folder, self._finished_sizes()):
                if job.id not in self.jobs.by_id and job.id not in self.jobs.removed:
                    yield job

    # -- writing -----------------------------------------------------------------------------------

    def update(self, decide: Callable[[Jobs], Iterable[Change]], at: float, *, ring: bool = True) -> list[int]:
        """Carry out what `decide` returns, as one durable transaction; returns the ids of new jobs.

        `decide` is called under the lock with the jobs as they are: it must be quick, and must not write. If it is a
        generator, each change shows in the jobs before it is asked for the next.
        Raises NotSaved, LockTimeout, StoreDamaged, and whatever `decide` raises; then nothing has changed.
        """
        root = self.root
        self.read()
        with self.lock:
            hint = self._recover_tail(root)
            self._catch_up(root)
            first_id = self.jobs.next_id
            try:
                lines = self.jobs.carry_out(self._checked(root, decide(self.jobs)), at)
                if not lines:
                    return []
                data = b"".join(lines)
                self._append(hint, data, self.jobs.seq, self.jobs.next_id)
            except BaseException:
                self._forget()  # memory is ahead of the disk
                raise
            self._offset = hint.size + len(data)
            new_ids = list(range(first_id, self.jobs.next_id))
        if ring:
            workers.ring(root)
        return new_ids

    def enqueue(self, spec: Spec, commands: Sequence[Command], at: float) -> range:
        """New jobs, without reading the others: O(1) in what the store holds. Raises as `update`."""
        root = self.root
        with self.lock:
            hint = self._recover_tail(root)
            self._check_environment(root, spec)
            first = hint.next_id
            lines = transaction(list(add_ops(spec, commands, first)), hint.seq, at)
            self._append(hint, b"".join(lines), hint.seq + len(lines), first + len(commands))
        workers.ring(root)
        return range(first, first + len(commands))

    def _checked(self, root: Folder, changes: Iterable[Change]) -> Iterator[Change]:
        for change in changes:
            if isinstance(change, Add):
                self._check_environment(root, change.spec)
            yield change

    def _check_environment(self, root: Folder, spec: Spec) -> None:
        if not environment.exists(root, spec.env):
            raise EnvironmentGone(spec.env)

    def _append(self, hint: Hint, data: bytes, seq: int, next_id: int) -> None:
        assert self._journal is not None
        self._journal.append(data, hint.size)
        write_hint(self.root, hint._replace(size=hint.size + len(data), seq=seq, next_id=next_id))

    def _recover_tail(self, root: Folder) -> Hint:
        """Under the lock: make the journal end with its last acknowledged or whole transaction; a hint that says so."""
        if self._journal is None or not self._journal.is_current():
            if self._offset:
                self._catch_up(root)
            else:
                self._forget()
                self._journal = Journal.open(root, writable=True)
        journal = self._journal
        if journal is None:
            raise StoreDamaged(f"{self.path}/{JOURNAL}", 0, "the journal is missing")
        if journal.header.min_writer > FORMAT:
            raise StoreTooNew(self.path, journal.header.min_writer, FORMAT, journal.header.version)
        hint = read_hint(root)
        size = journal.size()
        if hint is not None and hint.generation == journal.header.generation:
            if hint.size == size:
                return hint
            if hint.size > size:
                raise StoreDamaged(journal.path, size, f"{hint.size - size} acknowledged bytes are missing")
        else:
            hint = self._find_end(root)
            journal = self.journal
        return self._settle_tail(root, journal, hint, size)

    def _find_end(self, root: Folder) -> Hint:
        """The hint that the journal ought to have, found by reading it."""
        self._catch_up(root)
        journal = self._journal
        assert journal is not None
        return Hint(journal.header.generation, self._offset, self.jobs.seq, self.jobs.next_id, self._snapshot_end)

    def _settle_tail(self, root: Folder, journal: Journal, hint: Hint, size: int) -> Hint:
        """Keep and sync whole transactions behind the hint, cut off the rest: nobody was told that it is saved."""
        parsed = parse_lines(journal.read(hint.size, size), hint.size, hint.seq)
        if parsed.damage is not None:
            raise StoreDamaged(journal.path, *parsed.damage)
        next_id = hint.next_id
        for line in parsed.lines:
            for op in line["ops"]:
                if op["op"] == "add":
                    next_id = op["first"] + len(op["commands"])
        if parsed.end < size:
            try:
                os.ftruncate(journal.fd, parsed.end)
            except OSError as e:
                raise NotSaved(journal.path, e) from None
        journal.sync()
        hint = hint._replace(size=parsed.end, seq=parsed.seq, next_id=next_id)
        write_hint(root, hint)
        return hint

    # -- files beside the journal --------------------------------------------------------------------

    def save_environment(self, environ: dict[str, str]) -> str:
        """The digest that a Spec names. Raises NotSaved."""
        return environment.save(self.root, environ)

    def load_environment(self, digest: str) -> dict[str, str]:
        """The inverse of `save_environment`. Raises StoreDamaged."""
        return environment.load(self.root, digest)

    def environment_path(self, digest: str) -> str:
        """The file that holds it."""
        return f"{self.path}/{environment.ENV}/{digest}.json"

    def log_path(self, job_id: int, attempt: int) -> str:
        """Where the output of that attempt goes."""
        return f"{self.path}/{RUNS}/{job_id // 1000}/{job_id}.{attempt}.log"

    def make_log_folder(self, job_id: int) -> None:
        """Make sure that `log_path` can be created. Raises NotSaved."""
        folder = f"{self.path}/{RUNS}/{job_id // 1000}"
        try:
            for path in (f"{self.path}/{RUNS}", folder):
                if not os.path.isdir(path):
                    make_private_dir(path)
        except FileExistsError:
            pass
        except OSError as e:
            raise NotSaved(folder, e) from None

    def remove_logs(self, job_ids: set[int]) -> None:
        """Delete the output of all attempts of these jobs, as far as there is any."""
        for bucket in {job_id // 1000 for job_id in job_ids}:
            folder = f"{self.path}/{RUNS}/{bucket}"
            try:
                for name in os.listdir(folder):
                    if name.partition(".")[0].isdecimal() and int(name.partition(".")[0]) in job_ids:
                        os.unlink(f"{folder}/{name}")
                os.rmdir(folder)
            except OSError:
                continue  # never ran, or other jobs' logs are in there

    @property
    def lock(self) -> StoreLock:
        """The write lock, for compaction and repair; `update` and `enqueue` take it themselves."""
        assert self.root
        assert self._lock is not None
        return self._lock

    def recover(self) -> Hint:
        """Under the lock: put the journal's tail in order; where it ends."""
        return self._recover_tail(self.root)

    @property
    def journal(self) -> Journal:
        """The open journal, after `read` or `recover`."""
        assert self._journal is not None
        return self._journal

    @property
    def journal_size(self) -> tuple[int, int]:
        """Bytes of the journal as far as it is applied, and of its snapshot."""
        return self._offset, self._snapshot_end

    @property
    def header(self) -> Header | None:
        """The header of the journal that was read last."""
        return self._journal.header if self._journal is not None else None


class EnvironmentGone(JobqError):
    """The captured environment was cleaned away between its capture and the add: capture it again."""

    def __init__(self, digest: str) -> None:
        super().__init__(f"the captured environment {digest[:12]} is gone", "repeat the command")


def load_snapshot(journal: Journal) -> tuple[Jobs, int]:
    """The jobs of the snapshot, and the offset behind it. Raises StoreDamaged."""
    jobs = Jobs()
    jobs.generation = journal.header.generation
    at = journal.first_line_end
    pending = b""
    start = at
    while block := os.pread(journal.fd, 1 << 20, at):
        at += len(block)
        lines = (pending + block).split(b"\n")
        pending = lines.pop()
        for line in lines:
            try:
                last = jobs.apply_snapshot(decode_line(line))
            except (BadLine, BadRecord) as e:
                raise StoreDamaged(journal.path, start, str(e)) from None
            start += len(line) + 1
            if last:
                return jobs, start
    raise StoreDamaged(journal.path, start, "the snapshot has no end")


def new_base_seq(journal: Journal, hint: Hint) -> int:
    """The seq of the snapshot's end: what the first line behind it follows."""
    first = journal.read(hint.snapshot_end, min(hint.size, hint.snapshot_end + 64))
    if not first:
        return hint.seq
    try:
        return int(first[len(b'{"seq":') : first.index(b",")]) - 1
    except ValueError:
        raise StoreDamaged(journal.path, hint.snapshot_end, "an acknowledged line is not readable") from None
