"""The output of workers in the background: worker.log, and worker.log.1 for what is older."""

from __future__ import annotations

import os

from jobq.errors import NotSaved
from jobq.store.folder import Folder

NAME, OLDER = "worker.log", "worker.log.1"
MOST = 4 << 20  # bytes, after which a new file is begun


def is_over(fd: int) -> bool:
    """Return True if it is time to open the log anew: this file is as long as it may be, or another worker's by now."""
    return os.fstat(fd).st_size > MOST


def open_log(root: Folder) -> int:
    """Return a descriptor to append to the log. Raises NotSaved."""
    try:
        if root.has(NAME) and os.stat(NAME, dir_fd=root.fd).st_size > MOST:
            os.replace(NAME, OLDER, src_dir_fd=root.fd, dst_dir_fd=root.fd)
        return root.file(NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    except OSError as e:
        raise NotSaved(f"{root.path}/{NAME}", e) from None
