"""System calls and the differences between Linux and macOS: clocks, sync, lock files, safe opening, CPUs.

Processes are in `supervisor/tree.py`.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time

TYPE_CHECKING = False  # as in `typing`: `jobq add` does without it
if TYPE_CHECKING:
    pass

LINUX = sys.platform == "linux"
BLOCK = 1 << 16  # bytes that are read at once
_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # CLOCK_MONOTONIC of macOS counts suspend too


def shell_argv(line: str, shell: str = "/bin/sh") -> list[str]:
    """Return what runs a line by a shell. A space keeps one that begins with - or + from being taken for an option."""
    return [shell, "-c", f" {line}" if line.startswith(("-", "+")) else line]


def utf8(text: str) -> str:
    """Return text from the system as UTF-8 would decode its bytes: jobs are stored and started in UTF-8.

    Raises UnicodeEncodeError for half of a surrogate pair.
    """
    if text.isascii():
        return text
    try:
        return os.fsencode(text).decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        if sys.getfilesystemencoding() == "utf-8":
            raise
        return text  # it did not come from the system


def typed(text: str) -> str:
    """Return a word of the command line as text. Bytes that the locale can't decode are read as UTF-8."""
    return utf8(text) if not text.isascii() and any("\udc80" <= char <= "\udcff" for char in text) else text


def current_umask() -> int:
    """Return the umask. It can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def boot_time() -> float:
    """Return the seconds since this boot, suspend included. A step of the wall clock does not change it."""
    return time.clock_gettime(_BOOT_CLOCK)


def boot_id() -> str:
    """Return the id of this boot, or "" where the system has none: then times are compared by the wall clock."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as f:  # which Python has loaded by now
            return f.read().strip()
    except OSError:
        return ""


def namespace() -> str:
    """Return the name of the PID namespace of this process (pid_namespaces(7)), or "" where there is only one."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def lock_record(fd: int) -> bytes:
    """Return the text for a lock file that a process holds for life: its pid, and the file's inode to detect a copy."""
    status = os.fstat(fd)
    return b"%d\n%d:%d %b\n" % (os.getpid(), status.st_dev, status.st_ino, namespace().encode())


def hold_new(path: str) -> int:
    """Create a lock file, lock it, and rename it to `path`: others never see it unlocked. Raises OSError.

    On a full disk the file is empty: the lock works, but the holder's pid and the copy detection are missing.
    """
    import fcntl  # noqa: PLC0415

    folder, _, name = path.rpartition("/")
    new = f"{folder}/.{name}"
    try:
        os.unlink(new)  # left by a process that died in here
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
    """The content of a lock file, held or not. Files of older versions hold only the pid."""

    def __init__(self, fd: int) -> None:
        """`fd` is open for reading. Raises OSError."""
        words = os.pread(fd, 4096, 0).decode("ascii", "replace").split()
        status = os.fstat(fd)
        number = int(words[0]) if words and words[0].strip("0").isdecimal() and len(words[0]) < 10 else None
        self.file = words[1] if len(words) > 1 else f"{status.st_dev}:{status.st_ino}"
        self.is_copy = self.file != f"{status.st_dev}:{status.st_ino}"  # the original may be held elsewhere
        self.is_near = len(words) < 3 or words[2] == namespace()  # its pid is one of this PID namespace
        self.pid = number if self.is_near and not self.is_copy else None


def hold(fd: int, seconds: float) -> None:
    """Lock an open file or directory, until it is closed (flock(2)). Raises OSError if others hold it for so long."""
    import fcntl  # noqa: PLC0415  # `jobq add` does without it here

    until = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise
            time.sleep(0.01)
        else:
            return


def is_suspended(pid: int) -> bool:
    """Return True if SIGSTOP or ^Z has stopped the process (proc_pid_stat(5)); False if that can't be seen."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            return f.read().rpartition(b")")[2].split()[:1] in ([b"T"], [b"t"])
    except OSError:
        return False


def is_file_at(fd: int, path: str) -> bool:
    """Return True if the open file is the file at `path`."""
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(fd))
    except FileNotFoundError:
        return False


def sync(fd: int) -> None:
    """Wait until the file's bytes and size are on the disk itself. Raises OSError."""
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
    """Free the disk space of these bytes; no other byte moves. Return False if the system can't do it."""
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
    """Return True if no other process has this file open; False where the system can't tell (F_SETLEASE, fcntl(2))."""
    import fcntl  # noqa: PLC0415

    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except (OSError, AttributeError):
        return False
    return True


# The limits of execve(2), in bytes with the NULs: for one variable or argument (MAX_ARG_STRLEN), and for all of them
# together (the limit of a worker may be lower). macOS limits only the total, sysctl kern.argmax.
MAX_ALL = (6 if LINUX else 1) << 20
MAX_VARIABLE = 128 << 10 if LINUX else MAX_ALL
PLANTED = frozenset({errno.ELOOP, errno.EISDIR, errno.ENXIO})  # a link, a directory or a FIFO is there
NOT_OURS = "it is not a regular file that only you can have created"


def open_plain(path: str, flags: int, *, dir_fd: int | None = None) -> int:
    """Open a regular file that only this user can have created (open(2)). Follow no link, and wait for no FIFO.

    A new file gets mode 0600, less the umask. Raises OSError, with an errno in PLANTED if something else is there.
    """
    fd = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600, dir_fd=dir_fd)
    status = os.fstat(fd)
    ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
    if ours and (status.st_nlink <= 1 or _is_our_own_link(status, path, dir_fd)):
        return fd
    os.close(fd)
    raise OSError(errno.ENXIO, NOT_OURS, path)


def _is_our_own_link(status: os.stat_result, path: str, dir_fd: int | None) -> bool:
    """Return True if only this user can have given the file its second name, as a backup by hard links does.

    The danger: another user links a file of this user into the store, so that jobq overwrites it. That takes a folder
    that others can write to. Files that jobq makes are private, unlike most of the user's other files.
    """
    folder = os.stat(os.path.dirname(path) or ".", dir_fd=dir_fd)
    return not status.st_mode & 0o077 and folder.st_uid == os.geteuid() and not folder.st_mode & 0o022


def next_block(fd: int, at: int) -> tuple[int, bytes]:
    """Return the offset and the bytes of the next block; a hole at `at` is skipped (lseek(2), SEEK_DATA)."""
    block = os.pread(fd, BLOCK, at)  # read before lseek: bytes that are dropped in between would be zeros
    try:
        start = os.lseek(fd, at, os.SEEK_DATA)
        if start > at:
            return next_block(fd, start)
        return at, block[: os.lseek(fd, at, os.SEEK_HOLE) - at]
    except OSError:
        return at, block  # at the end, or on a filesystem without holes


def open_fifo(path: str, *, dir_fd: int | None = None) -> int:
    """Open the FIFO at `path` for writing, without waiting. Raises OSError, also if no process reads the FIFO."""
    fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW, dir_fd=dir_fd)
    if stat.S_ISFIFO(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise OSError(errno.ENXIO, "it is not a FIFO", path)


def filesystem(path: str) -> str:
    """Return the type of the filesystem that holds `path`, as in mount(8); "" if unknown."""
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
