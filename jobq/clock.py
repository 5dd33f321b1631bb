"""The only reader of the clocks; everything else takes a `Moment`."""

from __future__ import annotations

import time

from jobq.job import Moment
from jobq.system import boot_id, boot_time

_BOOT_ID = boot_id()


def now() -> Moment:
    """This moment, on both clocks."""
    return Moment(time.time(), boot_time(), _BOOT_ID)
