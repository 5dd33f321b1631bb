"""A report of jobs as JUnit XML: what GitHub, GitLab and Jenkins read. Retries are reruns, in the form of surefire."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from xml.etree import ElementTree

from jobq.job import Attempt, Job, Outcome, State
from jobq.views.lines import why_ended
from jobq.views.text import command_line, iso_time, safe

NOT_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # characters that XML 1.0 can't hold
LONGEST_NAME = 200  # characters
OWN = {Outcome.EXIT, Outcome.SIGNAL, Outcome.TIMEOUT, Outcome.IDLE_TIMEOUT}  # ends that are the job's own: failures
Output = Callable[[Job, int], str]  # of a job and an attempt: the end of its output, harmless


def junit(jobs: Sequence[Job], seconds: float, output: Output, *, name: str = "jobq") -> bytes:
    """Return the report of finished jobs, as a file in UTF-8; `seconds`: the time that all of it took."""
    cases = [_case(job, output) for job in jobs]
    _make_names_unique(cases, jobs)
    counts = {
        "tests": str(len(cases)),
        "failures": str(sum(case.find("failure") is not None for case in cases)),
        "errors": str(sum(case.find("error") is not None for case in cases)),
        "skipped": str(sum(case.find("skipped") is not None for case in cases)),
        "time": f"{seconds:.3f}",
    }
    root = ElementTree.Element("testsuites", {"name": name, **counts})
    started = min((job.added_at for job in jobs), default=None)
    suite = ElementTree.SubElement(
        root, "testsuite", {"name": name, **counts, **({"timestamp": iso_time(started) or ""} if started else {})}
    )
    suite.extend(cases)
    ElementTree.indent(root)
    data: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return data + b"\n"


def _case(job: Job, output: Output) -> ElementTree.Element:
    text = job.spec.name or command_line(job.command)[:LONGEST_NAME]
    case = ElementTree.Element(
        "testcase",
        {"classname": f"jobq.{_legal(job.spec.queue)}", "name": _legal(text), "time": f"{job.seconds or 0.0:.3f}"},
    )
    last = job.attempts[-1] if job.attempts else None
    earlier = [attempt for attempt in job.attempts[:-1] if attempt.ending is not None and attempt.ending.counted]
    if job.state is State.SUCCEEDED:
        for attempt in earlier:
            _rerun(case, "flaky", job, attempt, output)
    elif job.state is State.FAILED and last is not None:
        own = last.ending is not None and last.ending.outcome in OWN
        wrong = _element(case, "failure" if own else "error", job, last)
        wrong.text = _legal(output(job, last.n))
        for attempt in earlier:
            _rerun(case, "rerun", job, attempt, output)
    else:
        ElementTree.SubElement(case, "skipped", {"message": str(job.state)})
    if last is not None and (text := _legal(output(job, last.n))):
        ElementTree.SubElement(case, "system-out").text = text
    return case


def _rerun(case: ElementTree.Element, kind: str, job: Job, attempt: Attempt, output: Output) -> None:
    """Add an earlier attempt: flakyFailure of a success, rerunFailure of a failure."""
    own = attempt.ending is not None and attempt.ending.outcome in OWN
    element = _element(case, f"{kind}{'Failure' if own else 'Error'}", job, attempt)
    ElementTree.SubElement(element, "stackTrace").text = str(attempt.ending)
    ElementTree.SubElement(element, "system-out").text = _legal(output(job, attempt.n))


def _element(case: ElementTree.Element, name: str, job: Job, attempt: Attempt) -> ElementTree.Element:
    why = why_ended(job) if attempt is job.attempts[-1] else safe(str(attempt.ending))
    outcome = attempt.ending.outcome if attempt.ending is not None else Outcome.LOST
    message = f"{why} (attempt {attempt.n})" if len(job.attempts) > 1 else why
    return ElementTree.SubElement(case, name, {"message": _legal(message), "type": str(outcome)})


def _make_names_unique(cases: Sequence[ElementTree.Element], jobs: Sequence[Job]) -> None:
    """Add the id to names that are there more than once: readers take those for one case."""
    counts = Counter(case.get("name", "") for case in cases)
    for case, job in zip(cases, jobs, strict=True):
        if counts[case.get("name", "")] > 1:
            case.set("name", f"{case.get('name')} (job {job.id})")


def _legal(text: str) -> str:
    return NOT_XML.sub("\ufffd", text)
