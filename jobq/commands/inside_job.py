"""`jobq progress` and `jobq step`, for scripts that are jobs. They load little, as a script may call them often."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from jobq.errors import UsageError
from jobq.exit_codes import BY_SIGNAL, NOT_SAVED
from jobq.python.inside import MOST_OUTPUT, current_job, digest_of
from jobq.system import shell_argv, utf8
from jobq.views.console import info

NOT_FOUND, NOT_EXECUTABLE = 127, 126
UNKNOWN = "-"  # in the place of a percentage; a shell would take ? for a pattern


def quick(words: Sequence[str]) -> int | None:
    """Do what plain words of these two commands ask for; return the exit code, None for other words."""
    if (
        words[:1] == ["progress"]
        and len(words) > 1
        and not any(word.startswith("-") for word in words[1:] if word != UNKNOWN)
    ):
        report(words[1], words[2:])
        return 0
    if words[:1] == ["step"] and len(words) > 3 and words[2] == "--" and not words[1].startswith("-"):
        return run_step(words[1], words[3:])
    return None


# -- progress --------------------------------------------------------------------------------------


def report(value: str, text: Sequence[str]) -> None:
    """Tell the progress of the job. Raises UsageError."""
    job = current_job()
    if job.id is None:
        info("note: this is no job, so nobody sees its progress")
        return
    job.progress(fraction_of(value), " ".join(map(utf8, text)))


def fraction_of(text: str) -> float | None:
    """Return the fraction of "40", "40%", "4/10"; None for "-". Raises UsageError."""
    if text == UNKNOWN:
        return None
    done, slash, whole = text.removesuffix("%").partition("/")
    try:
        fraction = float(done) / (float(whole) if slash else 100.0)
    except (ValueError, ZeroDivisionError):
        fraction = -1.0
    if not 0 <= fraction <= 1:
        raise UsageError(f"{text!r:.60} is no progress", "give a percentage as in 40, or 4/10; - if it is not known")
    return fraction


# -- steps -----------------------------------------------------------------------------------------


def run_step(name: str, words: Sequence[str]) -> int:
    """Run the command of a step, unless it is done; return its exit code. Raises UsageError.

    The output of a step that is done is printed again.
    """
    job = current_job()
    argv = [utf8(word) for word in words]
    try:
        step = job.step_of(utf8(name), digest_of("\0".join(argv)))
    except ValueError as e:
        raise UsageError(str(e), "jobq step fetch -- curl -fsSO https://example.org/data") from None
    if step.done:
        info(f"step {name} is done already, in attempt {step.known['n']}")
        output = Output()
        output.put(str(step.known.get("output", "")).encode("utf-8", "surrogateescape"))
        if step.known.get("cut"):
            info(f"step {name}: only the first {MOST_OUTPUT} bytes of its output were kept")
        return output.tell_trouble(name, 0)
    if step.changed:
        info(f"step {name} runs again: its command has changed")
    step.begin()
    output = Output()
    status, kept_bytes = run(argv, output, keep=job.id is not None)
    kept = kept_bytes[:MOST_OUTPUT].decode("utf-8", "surrogateescape")
    try:
        step.record(status=status, output=kept, cut=len(kept_bytes) > MOST_OUTPUT)
    except OSError as e:
        info(f"step {name} is not recorded, and would run again: {e.strerror}")
    return output.tell_trouble(name, status)


class Output:
    """Our own stdout, to which the output of a step is passed on unchanged."""

    def __init__(self) -> None:
        self.trouble = ""  # why it takes no more
        self.reader_is_gone = False

    def put(self, data: bytes) -> None:
        """Write the bytes, unless it takes no more."""
        try:
            while data and not self.trouble:
                data = data[os.write(1, data) :]
        except BrokenPipeError:
            self.reader_is_gone = True
        except OSError as e:
            self.trouble = e.strerror or str(e)

    def tell_trouble(self, name: str, status: int) -> int:
        """Print what went wrong with the output of the step; return its exit code, 74 in the place of 0 then."""
        if self.trouble:
            info(f"step {name}: stdout takes no output: {self.trouble}")
        return status or (NOT_SAVED if self.trouble else 0)


def run(argv: list[str], output: Output, *, keep: bool) -> tuple[int, bytes]:
    """Run a command; return its exit code, and if it is to be kept, a bit more than MOST_OUTPUT bytes of its stdout."""
    command = shell_argv(argv[0]) if len(argv) == 1 else argv
    kept = b""
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE if keep else None) as process:
            while process.stdout is not None and (data := os.read(process.stdout.fileno(), 1 << 16)):
                kept = (kept + data)[: MOST_OUTPUT + 1]
                output.put(data)
                if output.reader_is_gone:
                    break  # as in a pipeline, the command gets SIGPIPE
    except OSError as e:
        if e.filename is None:
            raise
        info(f"{command[0]}: {e.strerror}")
        return NOT_FOUND if isinstance(e, FileNotFoundError) else NOT_EXECUTABLE, b""
    code = process.returncode
    return (code if code >= 0 else BY_SIGNAL - code), kept
