"""What workers in the background print: worker.log, and worker.log.1 for what is older."""

from __future__ import annotations

import os

from jobq.errors import NotSaved
from jobq.store.folder import Folder

NAME, OLDER = "worker.log", "worker.log.1"
MOST = 4 << 20  # bytes, after which the next worker begins a new file


def open_log(root: Folder) -> int:
    """Return a descriptor to append to the log. Raises NotSaved."""
    try:
        if root.has(NAME) and os.stat(NAME, dir_fd=root.fd).st_size > MOST:
            os.replace(NAME, OLDER, src_dir_fd=root.fd, dst_dir_fd=root.fd)
        return root.file(NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    except OSError as e:
        raise NotSaved(f"{root.path}/{NAME}", e) from None
