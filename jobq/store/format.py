"""The versions of the store's format, which the first line of the journal records.

    1   jobs
    2   operations on queues, which older versions must neither ignore nor drop
    3   options of jobs that older versions must not ignore (`since` in options/table.py)
    4   limits of queues, ends of pauses, schedules; --slots and --stderr
    5   hooks, pauses that stop what runs
    6   capacities of queues: jobs must not be added without a look at those that wait

A store is of the least format that holds all that is in it, so that older versions use it as long as they can: one that
is about to get an operation of a later format is compacted into that format first, and back when nothing needs it.
Below format 3 it never comes again: finished jobs may be requeued, with all they ask for. Every version keeps reading
all older forms. To change the format: a new number here, `needs` of the operations or `since` of the options that need
it, and a store of the version before in `tests/data/`.
"""

from __future__ import annotations

from jobq.sealed import is_whole

BASE = 1
QUEUES = 2
JOB_OPTIONS = 3
LIMITS = 4
HOOKS = 5
CAPACITIES = 6
FORMAT = 6  # the last one that this version knows
JOURNAL = "journal.jsonl"
PAUSED = "paused.json"  # the note of the paused queues (store/pauses.py)


def is_todays(header: bytes, generation: int, least: int) -> bool:
    """Return True if this version writes such a first line, for that generation, in a format from `least` on.

    A quick check for `jobq add`, which does not look at the jobs: not in a format that asks for that.
    """
    begins = b'{"jobq":"journal","generation":%d,' % generation
    formats = range(least, CAPACITIES)
    versions = (b',"format":%d,"min_reader":%d,"min_writer":%d,"crc":"' % (3 * (n,)) for n in formats)
    return header.startswith(begins) and any(version in header for version in versions) and is_whole(header)
