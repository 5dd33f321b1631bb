"""The current time as a `Moment`. The rules take it as an argument and read no clock."""

from __future__ import annotations

import time

from jobq.moment import Moment
from jobq.system import boot_id, boot_time

_BOOT_ID = boot_id()


def now() -> Moment:
    """Return the current moment on both clocks."""
    return Moment(time.time(), boot_time(), _BOOT_ID)
