"""Captured environments: one immutable private file for each distinct one, named by its digest.

Values live here and nowhere else in the store.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping

from jobq.errors import StoreDamaged
from jobq.store.folder import Folder

ENV = "env"
NOT_CAPTURED = frozenset({"PWD", "OLDPWD", "SHLVL", "_"})  # they differ from one prompt to the next


def capture(environ: Mapping[str, str], overrides: Mapping[str, str]) -> dict[str, str]:
    """What a job added here should see: `environ` without what belongs to the shell or to a surrounding job."""
    kept = {
        name: value for name, value in environ.items() if name not in NOT_CAPTURED and not name.startswith("JOBQ_JOB_")
    }
    return {**kept, **overrides}


def save(root: Folder, environment: Mapping[str, str]) -> str:
    """Its digest, once it is durably there. Raises NotSaved."""
    data = json.dumps(dict(sorted(environment.items())), separators=(",", ":")).encode("ascii")
    digest = hashlib.sha256(data).hexdigest()
    folder = root.sub(ENV)
    try:
        if not exists_in(folder, digest):
            folder.write_new(f"{digest}.json", data)
    finally:
        folder.close()
    return digest


def exists(root: Folder, digest: str) -> bool:
    """Whether the environment still is there (cleaning removes those that no job names)."""
    folder = root.existing(ENV)
    if folder is None:
        return False
    try:
        return exists_in(folder, digest)
    finally:
        folder.close()


def exists_in(folder: Folder, digest: str) -> bool:
    """The same, for the open directory."""
    try:
        fd = folder.file(f"{digest}.json", os.O_RDONLY)
    except FileNotFoundError:
        return False
    os.close(fd)
    return True


def load(root: Folder, digest: str) -> dict[str, str]:
    """The environment of that digest. Raises StoreDamaged if it is gone or changed."""
    path = f"{root.path}/{ENV}/{digest}.json"
    folder = root.existing(ENV)
    data = None
    if folder is not None:
        data = folder.read(f"{digest}.json")
        folder.close()
    if data is None:
        raise StoreDamaged(path, 0, "a captured environment is missing")
    if hashlib.sha256(data).hexdigest() != digest:
        raise StoreDamaged(path, 0, "a captured environment was changed")
    environment: dict[str, str] = json.loads(data)
    return environment
