"""Repair of a damaged store: `jobq doctor --accept-loss` keeps everything readable, and a copy of the damaged files."""

from __future__ import annotations

import os

from jobq.command import BadRecord, Record
from jobq.errors import Refused, StoreDamaged, StoreTooNew
from jobq.job import Step
from jobq.options.values import COUNT
from jobq.rules.uniqueness import to_keep
from jobq.sealed import is_whole
from jobq.store import compaction, filing, finished
from jobq.store.check import QUARANTINE, REPAIRED, job_problems
from jobq.store.contents import Tables
from jobq.store.folder import Folder
from jobq.store.format import FORMAT, JOURNAL
from jobq.store.hint import Hint, read_hint
from jobq.store.journal import BadLine, Header, decode_line
from jobq.store.lock import StoreLock
from jobq.store.logs import Logs
from jobq.store.records import ID, MISFITS
from jobq.store.replay import apply_line, decode
from jobq.store.snapshot import apply_snapshot_line, snapshot_lines
from jobq.store.state import StoreState
from jobq.store.store import Store
from jobq.typed import NamedTuple
from jobq.version import VERSION


class Loss(NamedTuple):
    """The size of what `repair` had to leave out, and the place of the copy."""

    lines: int
    bytes: int
    kept_as: str
    jobs: int  # read from the journal


def repair(store: Store, wall: float) -> Loss:
    """Replace a damaged store with one made of everything readable; keep the damaged files in quarantine.

    Raises NotSaved, LockTimeout, StoreTooNew, and Refused: no store, a compaction is running, the journal has changed.
    """
    root = Folder.open(store.path)
    if root is None:
        raise Refused(f"there is no store at {store.path}")
    with compaction.compacting(root) as alone, StoreLock(root):
        if not alone:
            raise Refused("the store is being compacted", "try again")
        data = root.read(JOURNAL) or b""
        salvage = Salvage(root)
        salvage.read(data)
        state = salvage.state
        hint = read_hint(root)
        known = hint.next_id if hint else 1
        state.next_id = max([state.next_id, known, *(job_id + 1 for job_id in [*state.jobs, *_ids_elsewhere(root)])])
        _repair_histories(state, wall)
        leaving = [job for job in state.jobs.values() if job.state.final]
        sizes = _repair_finished(root, salvage)
        sizes = filing.Filing(finished.Archive(root, sizes, lambda _day: True)).append(leaving, state.removed, wall)
        # Two generations on, so that readers of the old one read everything anew.
        generation = max(salvage.header.generation, hint.generation if hint else 0) + 2
        tables = Tables.of(state)._replace(keys=[*state.keys.kept(), *to_keep(leaving, wall)])
        least = compaction.least_format_of(state.jobs.values(), tables)
        least = max(least, compaction.staying(salvage.header))
        header = salvage.header.followed_by(generation, sizes, least)
        lines = snapshot_lines(state.jobs.values(), tables, state.seq, state.next_id, None, state.later)
        fd, size = compaction.write_generation(root, header, lines)
        os.close(fd)
        kept_as = _keep(root, JOURNAL, data)
        if (root.read(JOURNAL) or b"") != data:
            raise Refused(f"{root.path}/{JOURNAL} was changed while it was repaired", "try again")
        compaction.put_in_place(root, Hint(generation, size, state.seq, state.next_id, size))
    return Loss(len(salvage.lost), sum(salvage.lost), kept_as, len(state.jobs))


def _keep(root: Folder, name: str, data: bytes) -> str:
    """Copy `data` into quarantine and return the path of the copy."""
    quarantine = root.sub(QUARANTINE)
    try:
        kept = f"{os.urandom(4).hex()}-{name}"
        quarantine.write_new(kept, data)
        return f"{quarantine.path}/{kept}"
    finally:
        quarantine.close()


class Salvage:
    """The readable part of a journal, by lines and operations; `lost`: the lengths of the rest."""

    def __init__(self, root: Folder) -> None:
        self.state = StoreState()
        self.lost: list[int] = []
        self.header = Header(0, os.urandom(16).hex(), os.uname().nodename, VERSION, filing.days_on_disk(root))
        self._path = root.path

    def read(self, data: bytes) -> None:
        """Read all that is readable in `data`. Raises StoreTooNew."""
        first, _, rest = data.partition(b"\n")
        try:
            self.header = Header.decode(first, self._path)
        except StoreDamaged:
            self.lost.append(len(first))
        if self.header.min_writer > FORMAT:
            raise StoreTooNew(self._path, self.header.min_writer, FORMAT, self.header.version)
        pending: list[Record] = []
        for raw in rest.split(b"\n"):
            if not raw:
                continue
            try:
                line = decode_line(raw)
            except BadLine:
                self.lost.append(len(raw))
                continue
            if "ops" in line:
                if not line.get("part"):  # the transaction before lost its last line, but was acknowledged
                    self._apply(pending)
                pending.append(line)
                if line.get("commit"):
                    self._apply(pending)
            else:
                self._apply_snapshot(line, len(raw))

    def _apply(self, lines: list[Record]) -> None:
        for line in lines:
            for op in line["ops"] if isinstance(line["ops"], list) else [line["ops"]]:
                try:
                    known = max(decode(op).job_ids(), default=0)
                    self.state.next_id = max(self.state.next_id, known + 1)
                    apply_line(self.state, {"seq": line["seq"], "at": line["at"], "ops": [op]})
                except MISFITS:
                    self.lost.append(len(str(op)))
        lines.clear()

    def _apply_snapshot(self, line: Record, size: int) -> None:
        try:
            if "snapshot_end" in line:
                if not COUNT.allows(line["seq"]) or not ID.allows(line["next_id"]):
                    raise BadRecord("not the end of a snapshot")
                self.state.seq, self.state.next_id = line["seq"], max(self.state.next_id, line["next_id"])
            else:
                apply_snapshot_line(self.state, line)
        except MISFITS:
            self.lost.append(size)


def _repair_histories(state: StoreState, wall: float) -> None:
    for job in list(state.jobs.values()):
        if any(job_problems(job, state.next_id)):
            state.put(job._replace(history=(*job.history, Step(f"{REPAIRED}{job.state}", wall))), state.seq)


def _ids_elsewhere(root: Folder) -> set[int]:
    """Return the ids that were given out, according to finished jobs and logs."""
    archive = finished.Archive(root, filing.days_on_disk(root), lambda _day: True)
    found = {job_id for day in filing.days_on_disk(root) for job_id in archive.ids(day)}
    for _, _, names in os.walk(f"{root.path}/{Logs.NAME}"):
        found |= {job_id for name in names if (job_id := Logs.owner(name)) is not None}
    return found


def _repair_finished(root: Folder, salvage: Salvage) -> dict[str, int]:
    """Rewrite the damaged files of days without their damaged lines; return the sizes that count."""
    on_disk = filing.days_on_disk(root)
    sizes = {}
    for day, counted in salvage.header.finished.items():
        size = min(counted, on_disk.get(day, 0))
        if size == 0:
            salvage.lost.append(counted)
            continue
        archive = finished.Archive(root, {day: size}, lambda _day: True)
        lines = [line for _, line in archive.lines(day)][::-1]
        good = [line for line in lines if is_whole(line)]
        if len(good) < len(lines) or size < counted:
            folder = root.sub(finished.FINISHED)
            try:
                _keep(root, f"{day}.jsonl", folder.read(f"{day}.jsonl") or b"")
                salvage.lost += [len(line) for line in lines if not is_whole(line)]
                folder.write_new(f"{day}.jsonl", b"".join(line + b"\n" for line in good))
                size = sum(len(line) + 1 for line in good)
            finally:
                folder.close()
        sizes[day] = size
    return sizes
