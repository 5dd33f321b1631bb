"""Disks without free space."""

from __future__ import annotations

from pathlib import Path


def fill(folder: Path) -> None:
    """Write a file until no space is left."""
    with (folder / "filler").open("wb", buffering=0) as f:
        try:
            while f.write(b"x" * 512):
                continue
        except OSError:
            return
