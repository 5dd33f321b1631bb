"""The programs that jobq is compared with: one row for each peer, installed where that is possible.

A Python library is an app with two tasks, enqueued by `put_command(line)` and `put_function(path)`. `{V}` stands for
its virtual environment, `{W}` for the folder of the run, `{REDIS}` for the URL of a local server, `{LIST}` for a file of
shell lines.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

VENVS = Path(tempfile.gettempdir()) / f"jobq-bench-{os.getuid()}"
ROOT = Path(__file__).resolve().parents[2]


class Peer(NamedTuple):
    """A program, and its commands for the measured actions; "" for an action that it does not have."""

    name: str
    program: str = ""  # must be on the PATH
    debian: str = ""
    pypi: str = ""
    needs_redis: bool = False
    run: str = ""  # runs the lines of {LIST}, two at a time, and ends
    prepare: str = ""  # starts or configures a server
    add: str = ""  # submits one line, which is appended as the last word
    end: str = ""  # stops the server
    app: str = ""
    worker: str = ""  # runs two tasks at a time, in the foreground


APP = """
import json, os, subprocess
W, REDIS = os.environ["BENCH_W"], os.environ.get("BENCH_REDIS", "")
def tick(path):
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, b"\\n")
    os.close(fd)
def sh(line): subprocess.run(["sh", "-c", line])
"""

PEERS = [
    Peer("xargs -P2 sh -c", "xargs", run="xargs -P2 -d '\\n' -n1 sh -c < {LIST}"),
    Peer("GNU parallel -j2 --joblog", "parallel", "parallel", run="parallel -j2 --joblog {W}/joblog < {LIST}"),
    Peer(
        "task-spooler", "tsp", "task-spooler",
        prepare="tsp -S 2", add="tsp -n sh -c", end="tsp -K",
        run="while read -r line; do tsp -n sh -c \"$line\"; done < {LIST}; tsp -nf true",
    ),
    Peer("nq", "nq", "nq", add="nq -q sh -c", run=(
        "i=0; while read -r line; do i=$((i+1)); NQDIR={W}/$((i%2)) nq -q sh -c \"$line\"; done < {LIST};"
        "NQDIR={W}/0 fq -q > /dev/null; NQDIR={W}/1 fq -q > /dev/null"
    )),
    *(
        Peer(
            name, pypi="huey", worker="{V}/bin/huey_consumer app.app -k process -w 2 -q",
            app=f"""
import huey
app = huey.{made}
@app.task()
def put_command(line): sh(line)
@app.task()
def put_function(path): tick(path)
""",
        )
        for name, made in {
            "huey, file store": 'FileHuey(path=W + "/huey")',
            "huey, SQLite": 'SqliteHuey(filename=W + "/huey.db", fsync=True)',
        }.items()
    ),
    Peer(
        "pebble, which keeps nothing", pypi="pebble", worker="{V}/bin/python -c 'import app; app.work()'",
        app="""
from pebble import ProcessPool
def put(name, argument):
    with open(W + "/list", "a") as f: f.write(json.dumps([name, argument]) + "\\n")
def put_command(line): put("sh", line)
def put_function(path): put("tick", path)
def work():
    with ProcessPool(2) as pool, open(W + "/list") as f:
        for name, argument in map(json.loads, f): pool.schedule(globals()[name], args=[argument], timeout=60)
        pool.close(); pool.join()
""",
    ),
    Peer(
        "litequeue", pypi="litequeue",
        worker="{V}/bin/python -c 'import app; app.work()' & {V}/bin/python -c 'import app; app.work()'; wait",
        app="""
import time
from litequeue import LiteQueue
queue = LiteQueue(W + "/lite.db")
def put_command(line): queue.put(json.dumps(["sh", line]))
def put_function(path): queue.put(json.dumps(["tick", path]))
def work():
    while True:
        message = queue.pop()
        if message is None:
            time.sleep(0.05)
            continue
        name, argument = json.loads(message.data)
        globals()[name](argument)
        queue.done(message.message_id)
""",
    ),
    Peer(
        "rq", pypi="rq", needs_redis=True, worker="{V}/bin/rq worker-pool -q -u {REDIS} -n 2",
        app="""
from redis import Redis
from rq import Queue
queue = Queue(connection=Redis.from_url(REDIS)) if REDIS else None
def put_command(line): queue.enqueue(sh, line)
def put_function(path): queue.enqueue(tick, path)
""",
    ),
    Peer(
        "celery", pypi="celery[redis]", needs_redis=True,
        worker="{V}/bin/celery -A app worker -P prefork -c 2 --loglevel ERROR",
        app="""
from celery import Celery
app = Celery("app", broker=REDIS)
app.conf.task_ignore_result = True
put_command = app.task(name="command")(sh).delay
put_function = app.task(name="function")(tick).delay
""",
    ),
    Peer(
        "dramatiq", pypi="dramatiq[redis]", needs_redis=True, worker="{V}/bin/dramatiq app -p 2 -t 1 --skip-logging",
        app="""
import dramatiq
from dramatiq.brokers.redis import RedisBroker
dramatiq.set_broker(RedisBroker(url=REDIS))
put_command = dramatiq.actor(sh).send
put_function = dramatiq.actor(tick).send
""",
    ),
]  # fmt: skip


def venv(peer: Peer) -> Path:
    """Return the path of the peer's virtual environment."""
    return VENVS / peer.pypi.partition("[")[0]


def install() -> tuple[list[Peer], list[str]]:
    """Install the peers; return those that can run, and for each other one its name and the reason."""
    programs = {peer.debian: peer.program for peer in PEERS if peer.debian} | {
        "redis-server": "redis-server",
        "gcc": "cc",
    }
    missing = [package for package, program in programs.items() if shutil.which(program) is None]
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "-qq", "update"], capture_output=True, check=False)
        subprocess.run(
            ["apt-get", "-qq", "install", "-y", "--no-install-recommends", *missing], capture_output=True, check=False
        )
    there, left_out = [], []
    for peer in PEERS:
        reason = why_not(peer)
        if reason:
            left_out.append(f"{peer.name}: {reason}")
        else:
            there.append(peer)
    return there, left_out


def why_not(peer: Peer) -> str:
    """Install the peer's packages from PyPI; return why it can't take part, or ""."""
    if peer.program and shutil.which(peer.program) is None:
        return f"{peer.program} is not installed, and can't be installed here"
    if peer.needs_redis and shutil.which("redis-server") is None:
        return "redis-server is not installed, and can't be installed here"
    if peer.pypi:
        return make_venv(venv(peer), peer.pypi)
    return ""


def make_venv(path: Path, *packages: str) -> str:
    """Make a virtual environment with these packages; return why that failed, or ""."""
    if not (path / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", path], check=False)
        done = subprocess.run(
            [path / "bin/pip", "install", "-q", *packages], capture_output=True, text=True, check=False
        )
        if done.returncode:
            return f"pip could not install {' '.join(packages)}"
        (path / "ready").touch()
    return ""


def install_jobq() -> Path:
    """Install this jobq into a virtual environment as users do, not as an editable package; return its bin folder."""
    path = VENVS / "jobq"
    (path / "ready").unlink(missing_ok=True)
    reason = make_venv(path, str(ROOT))
    if reason:
        raise SystemExit(reason)
    return path / "bin"


@contextlib.contextmanager
def redis(peers: list[Peer]) -> Iterator[str]:
    """Run a Redis server if a peer needs one; yield its URL, or ""."""
    if not any(peer.needs_redis for peer in peers):
        yield ""
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        words = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", folder]
        server = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        try:
            yield f"redis://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait()
