"""The texts of `jobq help TOPIC`. What tables know is taken from them, so that it stays true."""

from __future__ import annotations

from jobq import exit_codes
from jobq.job import State
from jobq.settings.keys import ROWS

SELECTORS = """
The words that name jobs are the same for every command:

  7            the job with this id
  3-7          the jobs from 3 to 7
  build        the unfinished job of this name, else the last one that had it
  @            the job added last; @~1 the one before it
  @failed      all jobs in a state: {states}
  @waiting     those that are queued or held
  @queue=gpu   the unfinished jobs of a queue
  @label=run=7 the jobs with a label

Several words select all jobs that any of them names. Options narrow that down:

  -s STATE  -q QUEUE  --label NAME[=VALUE]  --grep TEXT  --since TIME  --until TIME

  jobq requeue @failed --since 2h        jobq cancel 11-110 -s queued
  jobq list --grep train --label lr=0.1  jobq log @running

A single job that is not there is an error (exit 1); an empty set is none (exit 0, and a note).
"""

ENVIRONMENT = """
Variables that set what an option or the settings file would (jobq config shows what is in force):

{settings}
  JOBQ_CONFIG               the settings file, instead of the usual one
  JOBQ_DEBUG                1: show the traceback of a bug
  JOBQ_TRACE_FRAMES         a file: the live view adds what it draws, a line of JSON for each drawing
  NO_COLOR, FORCE_COLOR     no colours; colours without a terminal, too (--color)
  VISUAL, EDITOR            the editor of 'jobq edit' and 'jobq config edit'
  TMPDIR                    where 'jobq run --ephemeral' makes its store
  GITHUB_ACTIONS, GITLAB_CI set by CI systems: 'jobq run' prints groups, annotations, a summary

Variables that a job gets:

  JOBQ_JOB_ID  JOBQ_JOB_NAME  JOBQ_JOB_ATTEMPT  JOBQ_JOB_FILES  JOBQ_STORE
  JOBQ_NAME                 the indices of a resource that it needs (--need name=1); CUDA_VISIBLE_DEVICES for gpu
  JOBQ_HOOK, JOBQ_JOB_*     in hooks: the event, and the state, outcome, exit code, seconds, log of the job
"""

EXIT_CODES = """
  {done:>3}  done
  {no:>3}  an expected no: a job failed, there is no such job, it was refused
  {usage:>3}  a mistake on the command line
  {damaged:>3}  the store is damaged: 'jobq doctor'
  {bug:>3}  a bug in jobq
  {not_saved:>3}  not saved: the disk is full or in trouble
  {again:>3}  try again: the lock was not free, or work is left ('jobq worker --drain')
  {forbidden:>3}  no permission
  {newer:>3}  the store is of a newer version
  {timeout:>3}  the time of 'jobq wait --timeout' is over

'run', 'wait' and 'log -f' of ONE job exit as the job did: 0 if it succeeded, else its own code; 128+N for signal N;
{timeout} at its timeout; 126 or 127 if it could not start; 1 for a Python exception; {other} for everything else:
cancelled, skipped, expired, lost, interrupted, no such job. Of several jobs: 0 if all succeeded, else 1.
"""

AGENTS = """
A queue of shell commands that run in the background, with retries, timeouts and kept output. No server: any process
adds, a worker runs. Jobs survive the end of your session.

Start a worker once: jobq worker --detach          (jobq worker list: which ones live)
Add:    id=$(jobq add --timeout 30m -- make test)   prints the id alone; options before the command
        jobq add --key deploy:42 -- ./deploy        runs the same key once; prints the id of the one that is there
        jobq add --after $id -- ./next              only if that succeeds
        jobq add cmd {{}} ::: a b c                   a job an item
Wait:   jobq wait -t 10m $id                        blocks; exits with the job's own code (124: not yet)
        jobq wait --any 7 8 9                       prints the id of the first that ends
Look:   jobq show $id --json                        state, reason, exit_code, attempts
        jobq log $id --tail 50                      its output; -f follows to the end
        jobq list --json -s failed                  versioned JSON; 'jobq schema' describes it
        jobq events --json --after CURSOR           what happened since; each line has a cursor
Steer:  jobq cancel $id    jobq requeue @failed     jobq hold|release|rm $id
Now:    jobq run -- make test                       here, with its output and its exit code; no worker needed
        jobq run -j 4 --from jobs.txt --halt soon,fail=1 --junit report.xml

Facts: state is one of {states}.
'reason' says why a job waits; "no worker is running" means start one. A killed job is never reported as a success.
stdout is data, stderr is talk (--quiet). With --json errors are JSON on stderr: error.message, error.hint.
Exit codes: 0 done, 1 no, 2 usage, 75 try again, 124 timed out; see 'jobq help exit-codes'.
--idle-timeout 10m ends a job that prints nothing; --pty gives it a terminal, 'jobq send ID TEXT' types there.
An own store for a task: jobq --store DIR ..., or JOBQ_STORE=DIR.
"""


def selectors() -> str:
    """Return the topic "selectors"."""
    return SELECTORS.format(states=", ".join(State))


def environment() -> str:
    """Return the topic "environment"."""
    rows = [f"  {row.variable:<24}  {row.help}" for row in ROWS]
    return ENVIRONMENT.format(settings="\n".join(rows))


def codes() -> str:
    """Return the topic "exit-codes"."""
    return EXIT_CODES.format(
        done=0, no=1, usage=exit_codes.USAGE, damaged=exit_codes.DAMAGED, bug=exit_codes.BUG,
        not_saved=exit_codes.NOT_SAVED, again=exit_codes.TRY_AGAIN, forbidden=exit_codes.FORBIDDEN,
        newer=exit_codes.TOO_NEW, timeout=exit_codes.TIMEOUT, other=exit_codes.NOT_ITS_OWN,
    )  # fmt: skip


def agents() -> str:
    """Return the topic "agents"."""
    return AGENTS.format(states=", ".join(State))


TOPICS = {"selectors": selectors, "environment": environment, "exit-codes": codes, "agents": agents}
