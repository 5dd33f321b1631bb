"""Commands of jobs that tests and fault cases share."""

from __future__ import annotations

# A job that records its start, waits for the file `go`, and records its end.
PATIENT = "echo $$ >> began.{0}; while ! [ -e go ]; do sleep 0.02; done; echo x >> ended.{0}"
TREES = {
    "plain": "echo $$ >> pids; sleep 300",
    "children": "echo $$ >> pids; sleep 300 & echo $! >> pids; sleep 300 & echo $! >> pids; wait",
    "setsid": "echo $$ >> pids; setsid sh -c 'echo $$ >> pids; sleep 300' & wait; sleep 300",
    "orphan": "echo $$ >> pids; (setsid nohup sh -c 'echo $$ >> pids; sleep 300' >/dev/null 2>&1 &); sleep 300",
    "deaf": "trap '' TERM HUP INT; echo $$ >> pids; while :; do sleep 300; done",
    "stopped": "echo $$ >> pids; kill -STOP $$; sleep 300",
}
MEMBERS = {"plain": 1, "children": 3, "setsid": 2, "orphan": 2, "deaf": 1, "stopped": 1}
