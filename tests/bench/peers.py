"""The programs that jobq is measured beside, installed where that is possible."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

DEBIAN = {"tsp": "task-spooler", "nq": "nq", "parallel": "parallel"}
VENV = Path(tempfile.gettempdir()) / f"jobq-bench-peers-{os.getuid()}"


def install() -> list[str]:
    """Install what is missing; what could not be, and why."""
    left_out = []
    missing = {program: package for program, package in DEBIAN.items() if shutil.which(program) is None}
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "-qq", "install", "-y", *missing.values()], capture_output=True, check=False)
    left_out += [f"{program}: not installed, and can't be here" for program in missing if shutil.which(program) is None]
    if huey_python() is None:
        subprocess.run([sys.executable, "-m", "venv", VENV], check=False)
        subprocess.run([VENV / "bin/pip", "install", "-q", "huey"], capture_output=True, check=False)
        if huey_python() is None:
            left_out.append("huey: could not be installed")
    return left_out


def huey_python() -> str | None:
    """The Python of the environment that holds huey."""
    return str(VENV / "bin/python") if (VENV / "bin/huey_consumer").exists() else None
