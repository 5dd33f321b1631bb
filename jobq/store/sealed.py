"""Lines that end in their checksum, and appending them all or nothing: what every writer does, whatever it writes.

A line is one ASCII JSON object whose last member is the CRC-32 of everything before it: `,"crc":"xxxxxxxx"}`.
"""

from __future__ import annotations

import os
import zlib

from jobq.errors import NotSaved, SyncFailed
from jobq.store.folder import write_all
from jobq.system import sync

CRC_BYTES = len(',"crc":"00000000"}')


def seal(body: bytes) -> bytes:
    """The line, newline included, of a JSON object without its closing brace."""
    return b'%b,"crc":"%08x"}\n' % (body, zlib.crc32(body))


def is_whole(line: bytes) -> bool:
    """Whether the checksum of a line without its newline is right."""
    return line[-CRC_BYTES:] == b',"crc":"%08x"}' % zlib.crc32(line[:-CRC_BYTES])


def append(fd: int, path: str, data: bytes, at: int) -> None:
    """Write and sync `data` at `at`, the end of the file; on any error the file is as before.

    Raises NotSaved, or SyncFailed: then the kernel may have dropped the bytes, and they must not be trusted.
    """
    try:
        write_all(fd, data, at)
    except OSError as e:
        cut(fd, at)
        raise NotSaved(path, e) from None
    try:
        sync(fd)
    except OSError as e:
        cut(fd, at)
        raise SyncFailed(path, e) from None


def cut(fd: int, at: int) -> None:
    """Drop everything from `at` on, as far as the disk allows: the rest is a torn tail anyway."""
    try:
        os.ftruncate(fd, at)
        sync(fd)
    except OSError:
        pass
