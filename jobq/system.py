"""What jobq asks of the system beside plain files, and what differs there between Linux and macOS.

Processes are in `supervisor/tree.py`.
"""

from __future__ import annotations

import errno
import math
import os
import stat
import sys
import time

TYPE_CHECKING = False  # as in `typing`: `jobq add` does without it
if TYPE_CHECKING:
    from collections.abc import Iterator

LINUX = sys.platform == "linux"
_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # macOS' CLOCK_MONOTONIC counts suspend too


def utf8(text: str) -> str:
    """The same bytes as `text` from the system, whatever its locale: jobs are stored and started in UTF-8.

    Raises UnicodeEncodeError for half a character.
    """
    try:
        return os.fsencode(text).decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        if sys.getfilesystemencoding() == "utf-8":
            raise
        return text  # it has not come from the system


def typed(text: str) -> str:
    """A word of the command line as text: what the locale can't read is taken for UTF-8."""
    return utf8(text) if not text.isascii() and any("\udc80" <= char <= "\udcff" for char in text) else text


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


def namespace() -> str:
    """A name for what gives processes their numbers here (pid_namespaces(7)); "" where there is only one."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def lock_record(fd: int) -> bytes:
    """What a process writes into the lock file that it holds for life: its number, and what tells it from a copy."""
    status = os.fstat(fd)
    return b"%d\n%d:%d %b\n" % (os.getpid(), status.st_dev, status.st_ino, namespace().encode())


def hold_new(path: str) -> int:
    """Put a lock file in the place of whatever is at `path`, held before others see it. Raises OSError.

    On a full disk it holds no record: only what tells it from a copy, and the holder's number, are missing then.
    """
    import fcntl  # noqa: PLC0415

    folder, _, name = path.rpartition("/")
    new = f"{folder}/.{name}"
    try:
        os.unlink(new)  # of a try that was cut short
    except FileNotFoundError:
        pass
    fd = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(fd, 0o600)  # whatever the umask
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        record = lock_record(fd)
        try:
            if os.write(fd, record) != len(record):
                os.ftruncate(fd, 0)
        except OSError:
            pass
        os.rename(new, path)
    except OSError:
        os.close(fd)
        raise
    return fd


class LockRecord:
    """What stands in a lock file, held or not. Files of older versions hold a number only."""

    def __init__(self, fd: int) -> None:
        """`fd` is open for reading. Raises OSError."""
        words = os.pread(fd, 4096, 0).decode("ascii", "replace").split()
        status = os.fstat(fd)
        number = int(words[0]) if words and words[0].strip("0").isdecimal() and len(words[0]) < 10 else None
        self.file = words[1] if len(words) > 1 else f"{status.st_dev}:{status.st_ino}"
        self.is_copy = self.file != f"{status.st_dev}:{status.st_ino}"  # of a file that somebody may hold elsewhere
        self.is_near = len(words) < 3 or words[2] == namespace()  # its numbers are those that we see
        self.pid = number if self.is_near and not self.is_copy else None


def is_suspended(pid: int) -> bool:
    """Return True if SIGSTOP or ^Z has stopped the process (proc_pid_stat(5)); False if that can't be seen."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            return f.read().rpartition(b")")[2].split()[:1] in ([b"T"], [b"t"])
    except OSError:
        return False


def is_file_at(fd: int, path: str) -> bool:
    """Whether the open file is the one of this name."""
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(fd))
    except FileNotFoundError:
        return False


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


def punch_hole(fd: int, at: int, length: int) -> bool:
    """Give back the room that these bytes take, with no other byte moved; whether the system could do it."""
    try:
        if sys.platform == "darwin":
            import fcntl  # noqa: PLC0415
            import struct  # noqa: PLC0415

            fcntl.fcntl(fd, 99, struct.pack("IIqq", 0, 0, at, length))  # F_PUNCHHOLE, fcntl(2)
            return True
        import ctypes  # noqa: PLC0415

        fallocate = ctypes.CDLL(None).fallocate
        fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_longlong, ctypes.c_longlong]
        return bool(fallocate(fd, 0x03, at, length) == 0)  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, fallocate(2)
    except (ImportError, OSError, AttributeError):
        return False


def is_open_nowhere_else(fd: int) -> bool:
    """Whether no other process has this file open; False where the system can't tell (F_SETLEASE, fcntl(2))."""
    import fcntl  # noqa: PLC0415

    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except (OSError, AttributeError):
        return False
    return True


# The most that any execve(2) takes, in bytes with the NULs: of one variable or argument (MAX_ARG_STRLEN), and of all of
# them (a worker's own limit may be lower). macOS limits only all, sysctl kern.argmax.
MAX_ALL = (6 if LINUX else 1) << 20
MAX_VARIABLE = 128 << 10 if LINUX else MAX_ALL
PLANTED = frozenset({errno.ELOOP, errno.EISDIR, errno.ENXIO})  # something else lies where a file of ours ought to be
NOT_OURS = "it is not a plain file that only you can have put there"


def open_plain(path: str, flags: int, *, dir_fd: int | None = None) -> int:
    """open(2) that follows no link, waits for no FIFO, and takes only a regular file of ours that we alone put there.

    What is made gets mode 0600, less the umask. Raises OSError; with an errno in PLANTED if something else lies there.
    """
    fd = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600, dir_fd=dir_fd)
    status = os.fstat(fd)
    ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
    if ours and (status.st_nlink <= 1 or _is_our_own_link(status, path, dir_fd)):
        return fd
    os.close(fd)
    raise OSError(errno.ENXIO, NOT_OURS, path)


def _is_our_own_link(status: os.stat_result, path: str, dir_fd: int | None) -> bool:
    """Whether only we can have given the file its second name, as a backup by hard links does.

    The danger is a name in the store that another user has given to a file of ours which jobq never made, to have it
    written to. That takes a folder that others can write to; and what jobq makes is private, unlike most of the rest.
    """
    folder = os.stat(os.path.dirname(path) or ".", dir_fd=dir_fd)
    return not status.st_mode & 0o077 and folder.st_uid == os.geteuid() and not folder.st_mode & 0o022


def open_fifo(path: str, *, dir_fd: int | None = None) -> int:
    """A descriptor to write to the FIFO at `path`, without waiting. Raises OSError, also where nobody reads it."""
    fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW, dir_fd=dir_fd)
    if stat.S_ISFIFO(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise OSError(errno.ENXIO, "it is not a FIFO", path)


def usable_cpus() -> int:
    """How many CPUs this process may use: by its affinity, and by the quota of its container, rounded up."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    return cpus if quota is None else max(1, min(cpus, math.ceil(quota)))


def cpu_quota(proc: str = "/proc/self") -> float | None:
    """CPUs' worth of time that the control groups of this process are given; None without a limit.

    Version 2: cpu.max, version 1: cpu.cfs_quota_us and cpu.cfs_period_us, of the group and of all above it. In a
    container, the path of the group may begin at a place that is not mounted: then only what is there counts.
    """
    quotas = []
    for mount, group in _cpu_groups(proc):
        names = group.split("/")
        quotas += [_quota_of(mount + "/".join(names[:depth])) for depth in range(1, len(names) + 1)]
    return min((quota for quota in quotas if quota is not None), default=None)


def _cpu_groups(proc: str) -> Iterator[tuple[str, str]]:
    """Where the hierarchies that limit CPUs are mounted, and the group of this process in each, as "/a/b" or ""."""
    mounts = {}
    for fields in map(str.split, _lines(f"{proc}/mounts")):
        if len(fields) > 3 and (fields[2] == "cgroup2" or (fields[2] == "cgroup" and "cpu" in fields[3].split(","))):
            mounts[fields[2]] = fields[1].replace("\\040", " ")
    for line in _lines(f"{proc}/cgroup"):
        _, controllers, group = line.split(":", 2)
        kind = "cgroup" if controllers else "cgroup2"
        if kind in mounts and (not controllers or "cpu" in controllers.split(",")):
            yield mounts[kind], group.rstrip("/")


def _quota_of(group: str) -> float | None:
    lines = _lines(f"{group}/cpu.max")
    words = lines[0].split() if lines else _lines(f"{group}/cpu.cfs_quota_us") + _lines(f"{group}/cpu.cfs_period_us")
    try:
        quota, period = map(int, words)
    except ValueError:  # "max", or nothing
        return None
    return quota / period if quota > 0 and period > 0 else None


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read().splitlines()
    except OSError:
        return []


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
