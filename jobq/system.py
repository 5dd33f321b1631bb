"""What differs between Linux and macOS, in one place (except in the supervisor, which can import nothing of ours)."""

from __future__ import annotations

import os
import sys
import time

LINUX = sys.platform == "linux"
_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # macOS' CLOCK_MONOTONIC counts suspend too


def utf8(text: str) -> str:
    """The same bytes as `text` from the system, whatever its locale: jobs are stored and started in UTF-8."""
    return os.fsencode(text).decode("utf-8", "surrogateescape")


def current_umask() -> int:
    """The umask; it can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def boot_time() -> float:
    """Seconds since this boot, suspend included: no step of the wall clock moves it."""
    return time.clock_gettime(_BOOT_CLOCK)


def boot_id() -> str:
    """A name for this boot; "" where the system has none, which makes times fall back to the wall clock."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as f:
            return f.read().strip()
    except OSError:
        return ""


def sync(fd: int) -> None:
    """Return when the file's bytes and size are on the disk itself. Raises OSError."""
    if LINUX:
        os.fdatasync(fd)
        return
    import fcntl  # noqa: PLC0415

    full = getattr(fcntl, "F_FULLFSYNC", None)  # macOS: fsync alone stops at the drive's cache
    if full is None:
        os.fsync(fd)
    else:
        fcntl.fcntl(fd, full)


def filesystem(path: str) -> str:
    """The type of the filesystem that holds `path`, as in mount(8); "" if unknown."""
    best, kind = "", ""
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="replace") as f:
            for line in f:
                fields = line.split()
                point = fields[1].replace("\\040", " ")
                inside = path == point or path.startswith(point.rstrip("/") + "/")
                if inside and len(point) >= len(best):
                    best, kind = point, fields[2]
    except OSError:
        return ""
    return kind


NETWORK_FILESYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "fuse.sshfs", "glusterfs", "fuse.glusterfs", "lustre"}
)
