"""The files of jobs, runs/<id // 1000>/<id>.steps, and of attempts: <id>.<n>.log .err .result.json .progress .tty"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Collection, Iterator

from jobq.errors import NotSaved, Refused, StoreForbidden
from jobq.store.folder import make_private_dir
from jobq.system import is_file_at, next_block, open_plain

BUCKET = 1000  # jobs per folder
LONGEST_ID = 18  # digits
BLOCK = 512  # bytes of st_blocks (stat(2))
KINDS = frozenset({"log", "err", "result.json", "result.json.tmp", "tty", "progress"})


class Logs:
    """The logs and results of one store."""

    NAME = "runs"

    def __init__(self, store: str) -> None:
        self._root = f"{store}/{self.NAME}"

    def folder(self, job_id: int) -> str:
        """Return the path of the folder of the job's files."""
        return f"{self._root}/{job_id // BUCKET}"

    def prefix(self, job_id: int) -> str:
        """Return what the paths of all files of a job begin with."""
        return f"{self._root}/{job_id // BUCKET}/{job_id}"

    def path(self, job_id: int, attempt: int) -> str:
        """Return the path of that attempt's log, whether it exists or not."""
        return f"{self.prefix(job_id)}.{attempt}.log"

    def result_path(self, job_id: int, attempt: int) -> str:
        """Return the path of the file with the result or the exception of a Python function."""
        return f"{self.prefix(job_id)}.{attempt}.result.json"

    def error_path(self, job_id: int, attempt: int) -> str:
        """Return the path of the log of stderr, if that attempt keeps it apart."""
        return f"{self.prefix(job_id)}.{attempt}.err"

    def inbox_path(self, job_id: int, attempt: int) -> str:
        """Return the path of the FIFO of that attempt's terminal, if it has one."""
        return f"{self.prefix(job_id)}.{attempt}.tty"

    def progress_path(self, job_id: int, attempt: int) -> str:
        """Return the path of the latest report of that attempt's progress."""
        return f"{self.prefix(job_id)}.{attempt}.progress"

    def steps_path(self, job_id: int) -> str:
        """Return the path of the record of the job's steps."""
        return f"{self.prefix(job_id)}.steps"

    def read_end(self, job_id: int, attempt: int, most: int) -> bytes:
        """Return the last `most` bytes that the attempt has printed, as far as they are kept; nothing if none are.

        What else is at the path is not read. An empty log may be reused for another job: then it is not this one's.
        """
        path = self.path(job_id, attempt)
        try:
            fd = open_plain(path, os.O_RDONLY)
        except OSError:
            return b""
        try:
            end = os.fstat(fd).st_size
            at, found = max(0, end - most), b""
            while at < end and (part := next_block(fd, at))[1]:
                found += part[1]
                at = part[0] + len(part[1])
            return found if is_file_at(fd, path) else b""
        finally:
            os.close(fd)

    def type_in(self, job_id: int, attempt: int, data: bytes) -> None:
        """Write to the FIFO of that attempt's terminal. Raises Refused if nobody reads it, or it is none."""
        path = self.inbox_path(job_id, attempt)
        try:
            fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        except OSError as e:
            if e.errno in {errno.ENOENT, errno.ENXIO}:
                raise Refused(f"the terminal of job {job_id} is not there yet, or not any more", "try again") from None
            raise Refused(f"{path} can't be opened: {e.strerror}", "jobq did not make it: move it away") from None
        try:
            if not stat.S_ISFIFO(os.fstat(fd).st_mode):
                raise Refused(f"{path} is no FIFO", "jobq did not make it: move it away")
            os.set_blocking(fd, True)
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(fd, rest) :]
        except BrokenPipeError:
            raise Refused(f"job {job_id} has just ended") from None
        finally:
            os.close(fd)

    @staticmethod
    def owner(name: str) -> int | None:
        """Return the id of the job that a log or result of this name belongs to; None for any other name."""
        number, _, rest = name.partition(".")
        attempt, _, kind = rest.partition(".")
        of_attempt = attempt.isdecimal() and (kind in KINDS or kind.startswith("progress."))
        ours = number.isdecimal() and len(number) <= LONGEST_ID and (of_attempt or rest == "steps")
        return int(number) if ours else None

    def forget_steps(self, job_id: int) -> None:
        """Delete the record of steps of another job that had this id, before a backup was restored."""
        try:
            os.unlink(self.steps_path(job_id))
        except OSError:
            pass

    def make_folder(self, job_id: int) -> None:
        """Make the folder of the job's logs, if it is missing. Raises NotSaved, StoreForbidden."""
        for path in (self._root, self.folder(job_id)):
            try:
                if stat.S_ISDIR(os.lstat(path).st_mode):
                    continue
                raise StoreForbidden(f"{path} is not a directory", "move it away; jobq did not make it")
            except FileNotFoundError:
                pass
            try:
                make_private_dir(path)
            except FileExistsError:
                continue
            except OSError as e:
                raise NotSaved(path, e) from None

    def remove(self, job_ids: set[int]) -> None:
        """Delete the logs and results of all attempts of these jobs. The folders stay: other jobs use them."""
        for bucket in {job_id // BUCKET for job_id in job_ids}:
            folder = f"{self._root}/{bucket}"
            try:
                names = os.listdir(folder)
            except OSError:
                continue  # none of these jobs ever ran
            for name in names:
                if self.owner(name) in job_ids:
                    try:
                        os.unlink(f"{folder}/{name}")
                    except OSError:
                        continue

    def shrink(self, most: int, find_spared: Callable[[], Collection[int]]) -> None:
        """Delete the oldest logs and results until all take `most` bytes or less, but none of the spared jobs.

        `find_spared` is called once the files are known: what is made later is not among them.
        """
        files = sorted(self._files())
        spared = find_spared()
        room = sum(size for _, size, _, _ in files)
        for _, size, job_id, path in files:
            if room <= most:
                return
            if job_id not in spared:
                try:
                    os.unlink(path)
                except OSError:
                    continue
                room -= size

    def _files(self) -> Iterator[tuple[float, int, int, str]]:
        """Yield for each file the time of its last change, the bytes that it takes, its job, and its path."""
        for folder, _, names in os.walk(self._root):
            for name in names:
                owner = self.owner(name)
                if owner is not None:
                    try:
                        status = os.lstat(f"{folder}/{name}")
                    except OSError:
                        continue
                    yield status.st_mtime, status.st_blocks * BLOCK, owner, f"{folder}/{name}"

    def remove_empty_folders(self, lowest_used: int) -> None:
        """Delete the empty folders that are only for jobs below `lowest_used`."""
        try:
            buckets = [int(name) for name in os.listdir(self._root) if name.isdecimal()]
        except OSError:
            return
        for bucket in buckets:
            if (bucket + 1) * BUCKET <= lowest_used:
                try:
                    os.rmdir(f"{self._root}/{bucket}")
                except OSError:
                    continue
