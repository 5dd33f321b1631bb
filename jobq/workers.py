"""The live workers of a store, as a person deals with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobq.errors import Refused
from jobq.rules.serving import LiveWorker
from jobq.settings.levels import values
from jobq.store import presence, worker_log
from jobq.store.retention import Retention
from jobq.store.store import Store

if TYPE_CHECKING:
    from jobq.worker.loop import Worker


def retention() -> Retention:
    """Return what the settings keep of finished jobs. Raises UsageError."""
    return Retention(*values("keep", "keep_jobs", "keep_logs"))


class Workers:
    """The live workers that take any job."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def make(self, **settings: Any) -> Worker:
        """Return a worker, with the settings of `worker.loop.Worker`, and those of the person for retention."""
        from jobq.worker.loop import Worker  # noqa: PLC0415  # the code that runs jobs

        return Worker(self._store, **{"keep": retention, "idle_hook": lambda: values("queue_idle")[0], **settings})

    def all(self) -> list[LiveWorker]:
        """Return them, and what each serves."""
        root = self._store.existing()
        return sorted(presence.live(root), key=lambda worker: worker.since) if root is not None else []

    def chosen(self, pid: int | None) -> LiveWorker:
        """Return the worker with that pid, or the only one. Raises Refused."""
        found = [worker for worker in self.all() if pid is None or worker.pid == pid]
        if not found:
            what = "no worker is running" if pid is None else f"no worker has the pid {pid}"
            raise Refused(what, "'jobq worker' starts one")
        if len(found) > 1:
            pids = ", ".join(f"--pid {worker.pid}" for worker in found)
            raise Refused(f"{len(found)} workers are running", f"name one: {pids}")
        return found[0]

    def set_slots(self, worker: LiveWorker, count: int) -> None:
        """Let a worker run so many jobs at once from now on. Raises Refused if it is stopping, NotSaved."""
        if worker.stopping:
            raise Refused(f"the worker with pid {worker.pid} is stopping", "'jobq worker' starts another")
        presence.order(self._store.root, worker.token, presence.SLOTS, count)

    def stop(self, worker: LiveWorker, *, hand_back: bool = False, wait: bool = False) -> None:
        """Ask a worker to stop, as ^C does, or as TERM with `hand_back`; one that is stopping is not asked again.

        `wait`: return when it is gone. Raises NotSaved.
        """
        root = self._store.root
        if not worker.stopping and presence.is_alive(root, worker.token):
            presence.order(root, worker.token, presence.STOP, presence.HAND_BACK if hand_back else presence.LEAVE)
        if wait:
            from jobq.worker.background import wait_until_gone  # noqa: PLC0415  # most commands do not wait

            wait_until_gone(root, worker)

    def log_path(self, *, older: bool = False) -> str:
        """Return the file with what workers in the background print, or printed before, if it exists or not."""
        return f"{self._store.path}/{worker_log.OLDER if older else worker_log.NAME}"

    def open_log(self) -> int:
        """Return a descriptor to append to it. Raises NotSaved."""
        return worker_log.open_log(self._store.root)

    def keep_log_short(self) -> None:
        """Let this worker in the background go on in a new file, if it is time for that."""
        from jobq.worker.background import keep_log_short  # noqa: PLC0415

        keep_log_short(self._store.root)
