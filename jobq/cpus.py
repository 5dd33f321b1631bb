"""The CPUs that a process may use: of its machine, or of its container."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator


def usable_cpus() -> int:
    """Return the number of CPUs that this process may use: by its affinity and its container's quota, rounded up."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    return cpus if quota is None else max(1, min(cpus, math.ceil(quota)))


def cpu_quota(proc: str = "/proc/self") -> float | None:
    """Return the CPU quota of this process's control groups, in CPUs; None without a limit.

    Read from cpu.max (version 2), or cpu.cfs_quota_us and cpu.cfs_period_us (version 1), of the group and of all groups
    above it. In a container, some of these groups may not be mounted: then only the mounted ones count.
    """
    quotas = []
    for mount, group in _cpu_groups(proc):
        names = group.split("/")
        quotas += [_quota_of(mount + "/".join(names[:depth])) for depth in range(1, len(names) + 1)]
    return min((quota for quota in quotas if quota is not None), default=None)


def _cpu_groups(proc: str) -> Iterator[tuple[str, str]]:
    """Yield the mount point of each hierarchy that limits CPUs, and this process's group in it: "/a/b" or ""."""
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
