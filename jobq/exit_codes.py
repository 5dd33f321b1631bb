"""Every exit code of jobq, once: from 65 on as in sysexits.h of BSD, from 124 on as in timeout(1) and env(1)."""

from __future__ import annotations

FAILED = 1  # a job failed, or a fair request was denied
USAGE = 2  # the command line is wrong
DAMAGED = 65  # acknowledged bytes of the store are missing or changed
BUG = 70  # something that should not happen
NOT_SAVED = 74  # the disk did not take it; or stdout did not
TRY_AGAIN = 75  # another process holds the store, the machine is short of something, or work is left
FORBIDDEN = 77  # the store is not ours, or not private
TOO_NEW = 78  # the store was written by a later version
TIMEOUT = 124  # a job reached its time limit, or what was waited for did not come in time
NOT_ITS_OWN = 125  # a job was ended, or is gone, for reasons that are not its own
BY_SIGNAL = 128  # plus the number of the signal that ended a job
