"""The files of the queue: journal, hint, locks, environments, finished jobs. It does not know what a job means."""

from jobq.store.jobs import Add, Change, Jobs, Remove
from jobq.store.store import Store

__all__ = ["Add", "Change", "Jobs", "Remove", "Store"]
