"""A private directory, opened once and used through its descriptor.

Every file is opened relative to this descriptor, without following a symbolic link, and checked afterwards. Anything
that another user may have planted under a name is refused; it is never followed, truncated or waited for.
"""

from __future__ import annotations

import errno
import os
import stat

from jobq.errors import NotSaved, Planted, StoreForbidden
from jobq.system import PLANTED, open_plain, sync

PRIVATE_DIR = 0o700
PRIVATE_FILE = 0o600
MAKE_AGAIN = 3  # times that something is made, if its half-made form is swept away


class Folder:
    """One directory of the store: mode 0700, owned by the effective user."""

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self.fd = fd

    @classmethod
    def open(cls, path: str) -> Folder | None:
        """Open the directory at `path`; None if there is none. Raises StoreForbidden if it is unusable or not ours."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        except OSError as e:
            raise _forbidden(path, e) from None
        folder = cls(path, fd)
        folder._check_ours()
        return folder

    @classmethod
    def create(cls, path: str) -> Folder:
        """Open the directory like `open`; make it if it is missing, with its missing parents, all with mode 0700."""
        folder = cls.open(path)
        if folder is not None:
            return folder
        parent = os.path.dirname(path)
        try:
            if not os.path.isdir(parent):
                cls.create(parent).close()
            make_private_dir(path)
        except FileExistsError:
            pass
        except OSError as e:
            raise _forbidden(path, e) from None
        folder = cls.open(path)
        if folder is None:
            raise StoreForbidden(f"{path} was removed while it was being made", "try again")
        return folder

    def _check_ours(self) -> None:
        status = os.fstat(self.fd)
        if status.st_uid != os.geteuid():
            raise StoreForbidden(
                f"{self.path} belongs to user {status.st_uid}, not to you ({os.geteuid()})",
                "name a directory of your own with --store or JOBQ_STORE",
            )

    def check_private(self) -> None:
        """Raise StoreForbidden if other users could change the contents."""
        mode = stat.S_IMODE(os.fstat(self.fd).st_mode)
        if mode & 0o022:
            ours = self.has("journal.jsonl")
            hint = f"chmod 700 {self.path}" if ours else "name a directory of your own with --store or JOBQ_STORE"
            raise StoreForbidden(f"{self.path} can be written by others (mode {mode:04o})", hint)
        parent = stat.S_IMODE(os.stat(os.path.dirname(os.path.abspath(self.path))).st_mode)
        if parent & 0o002 and not parent & stat.S_ISVTX:
            raise StoreForbidden(
                f"the directory that holds {self.path} can be written by everybody (mode {parent:04o})",
                "keep the store in a directory of your own",
            )

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)

    def names(self) -> list[str]:
        """Return the names in the directory, unordered."""
        return os.listdir(self.fd)

    def has(self, name: str) -> bool:
        """Return True if the name exists. A listing may miss a name that is being renamed over (btrfs)."""
        try:
            os.stat(name, dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def holds(self, name: str, fd: int) -> bool:
        """Return True if the name now belongs to the open file `fd`."""
        try:
            there = os.stat(name, dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(fd))

    def file(self, name: str, flags: int) -> int:
        """Open the regular file `name`. Raises OSError as open(2), Planted if something else has this name."""
        fd = open_checked(name, flags, dir_fd=self.fd, where=f"{self.path}/{name}")
        if flags & os.O_CREAT and stat.S_IMODE(os.fstat(fd).st_mode) != PRIVATE_FILE:
            os.fchmod(fd, PRIVATE_FILE)  # whatever the umask
        return fd

    def read(self, name: str) -> bytes | None:
        """Return all bytes of `name`, or None if it does not exist."""
        try:
            fd = self.file(name, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            return read_all(fd)
        finally:
            os.close(fd)

    def write_new(self, name: str, data: bytes) -> None:
        """Write `data` to the file `name`, all or nothing, durable on return. Raises NotSaved.

        A process with a wrong clock may sweep away the half-made file as a leftover; then it is made again.
        """
        try:
            for tries_left in reversed(range(MAKE_AGAIN)):
                try:
                    self._write_aside(name, data)
                    break
                except FileNotFoundError:
                    if not tries_left:
                        raise
            os.fsync(self.fd)
        except OSError as e:
            raise NotSaved(f"{self.path}/{name}", e) from None

    def _write_aside(self, name: str, data: bytes) -> None:
        temp = f".{name}.{os.getpid()}.{os.urandom(4).hex()}"
        fd = self.file(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            os.fchmod(fd, PRIVATE_FILE)
            write_all(fd, data, 0)
            sync(fd)
            os.rename(temp, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        except OSError:
            os.unlink(temp, dir_fd=self.fd)
            raise
        finally:
            os.close(fd)

    def sub(self, name: str) -> Folder:
        """Open the subdirectory `name`, made if it is missing, its name durable. Raises NotSaved, StoreForbidden."""
        try:
            try:
                os.mkdir(name, PRIVATE_DIR, dir_fd=self.fd)
                os.chmod(name, PRIVATE_DIR, dir_fd=self.fd)
            except FileExistsError:
                pass
            os.fsync(self.fd)  # always: its maker may have died before this sync, or the sync may have failed
            fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=self.fd)
        except OSError as e:
            raise NotSaved(f"{self.path}/{name}", e) from None
        folder = Folder(f"{self.path}/{name}", fd)
        folder._check_ours()
        return folder

    def existing(self, name: str) -> Folder | None:
        """Open the subdirectory `name`; None if there is none. Raises StoreForbidden."""
        try:
            fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=self.fd)
        except OSError as e:
            if e.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
                return None
            raise _forbidden(f"{self.path}/{name}", e) from None
        folder = Folder(f"{self.path}/{name}", fd)
        folder._check_ours()
        return folder


def make_private_dir(path: str) -> None:
    """Make a directory with mode 0700 whatever the umask; its name is not yet durable."""
    os.mkdir(path, PRIVATE_DIR)
    os.chmod(path, PRIVATE_DIR)


def sync_parents(path: str) -> None:
    """Make the name of the directory `path` durable, and those of all above it on the same disk. Raises NotSaved.

    The process that made one of them may have died before its own sync, or that sync may have failed.
    """
    device = os.stat(path).st_dev
    while (parent := os.path.dirname(path)) != path and os.stat(parent).st_dev == device:
        try:
            fd = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
        except PermissionError:
            return  # another user made it
        try:
            os.fsync(fd)
        except OSError as e:
            raise NotSaved(parent, e) from None
        finally:
            os.close(fd)
        path = parent


def open_checked(path: str, flags: int, *, dir_fd: int | None = None, where: str = "") -> int:
    """Open a file of the store with `open_plain`; messages call it `where`. Raises OSError as open(2), Planted."""
    try:
        return open_plain(path, flags, dir_fd=dir_fd)
    except OSError as e:
        if e.errno in PLANTED:
            raise Planted(where or path) from None
        raise


def write_all(fd: int, data: bytes, at: int) -> None:
    """Call pwrite(2) until all is written; after a short write, the next one reports the reason. Raises OSError."""
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, at)
        if written == 0:
            raise OSError(errno.EIO, "wrote nothing")
        view, at = view[written:], at + written


def read_all(fd: int, offset: int = 0) -> bytes:
    """Return everything from `offset` to the end of the file."""
    chunks = []
    while chunk := os.pread(fd, 1 << 22, offset):
        chunks.append(chunk)
        offset += len(chunk)
    return b"".join(chunks)


def _forbidden(path: str, error: OSError) -> StoreForbidden:
    hint = "set JOBQ_STORE to a directory you may write, or name one with --store"
    if os.path.islink(path):
        return StoreForbidden(f"{path} is a symbolic link", "name the directory itself with --store or JOBQ_STORE")
    return StoreForbidden(f"can't use {path} as the store: {error.strerror}", hint)
