"""Reading TOML: the plain lines, against the library; places of lines; changes that leave the rest alone."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobq.errors import Refused, UsageError
from jobq.settings.editing import with_value, without
from jobq.settings.keys import ROWS, SECTIONS, setting
from jobq.settings.levels import values_of
from jobq.settings.toml import flat, line_of, plain, read

KEYS = st.sampled_from(["retries", "queue", "worker", "jobs", "worker.jobs", "a b", "-", "é", ""])
VALUES = st.sampled_from([
    '"a"', '"a#b"', '"a" # c', "'a'", '"a\\n"', '"""a"""', "5", "-5", "05", "0", "-0", "+1", "1_0", "1.5", "true", "True", "[]",
    '["a"]', '["a", "b"]', '["a,b"]', '["a", 1]', '["a",]', "{}", "2026-01-01", "", '"', '"a', "[", '"\x7f"', '"\u2028"', "9" * 18,
])  # fmt: skip
LINES = st.one_of(
    st.tuples(KEYS, VALUES).map(" = ".join),
    st.sampled_from(
        ["", " ", "# c", "#\x07", "[worker]", " [worker] ", "[ worker ]", "[other]", "[worker", "[[worker]]"]
    ),
    st.text(max_size=12),
)


@given(st.lists(LINES, max_size=5).map("\n".join))
def test_plain_lines_mean_what_the_library_says(text: str) -> None:
    found = plain(text, SECTIONS)
    if found is not None:
        assert found == flat(tomllib.loads(text), SECTIONS)


def test_plain_lines_are_read_without_the_library() -> None:
    text = '# mine\nretries = 5\nqueue = "build"\nlabels = ["a=b", "c=d"]\n\n[worker]\n\tjobs = 4\n'
    assert plain(text, SECTIONS) == {"retries": 5, "queue": "build", "labels": ["a=b", "c=d"], "worker.jobs": 4}


@given(st.text(max_size=60) | st.lists(LINES, max_size=5).map("\n".join))
def test_any_text_is_read_or_refused_by_name(text: str) -> None:
    try:
        values_of(text, "/there")
    except UsageError as e:
        assert str(e).startswith("/there")


def test_lines_are_found() -> None:
    text = 'a = 1\nworker.jobs = 3\n[worker]\n  "on_stop" = "x"\n'
    assert [line_of(text, name) for name in ("a", "worker.jobs", "worker.on_stop", "b")] == [1, 2, 4, 0]


SAMPLES = [("retries", "7"), ("queue", "night"), ("labels", "a=b,c=d"), ("timeout", "90"), ("worker.jobs", "9")]


@pytest.mark.parametrize(("name", "text"), SAMPLES)
@pytest.mark.parametrize(
    "before",
    [
        "",
        "# only a comment\n",
        "retries = 3 # mine\n",
        "[worker]\njobs = 2\n\n# end\n",
        'queue = "x"\n\n[worker]\non_stop = "leave"',
    ],
)
def test_a_change_sets_one_value_and_nothing_else(before: str, name: str, text: str) -> None:
    row = setting(name)
    value = row.parse(text)
    after = with_value(before, row, value)
    assert values_of(after, "") == {**values_of(before, ""), name: value}
    assert after.count("#") == before.count("#") - (name == "retries" and "mine" in before)
    assert with_value(after, row, value) == after
    gone = without(after, name)
    assert values_of(gone, "") == {key: found for key, found in values_of(before, "").items() if key != name}


def test_lines_that_are_not_plain_are_left_to_the_person() -> None:
    before = 'labels = [\n  "a=b",\n]\n'
    assert read(before, SECTIONS) == {"labels": ["a=b"]}
    with pytest.raises(Refused, match="labels"):
        with_value(before, setting("labels"), (("c", "d"),))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_each_value_is_written_so_that_it_is_read_again(row: object) -> None:
    samples = {
        "priority": "high", "retry_on": "1,SIGKILL", "no_retry_on": "timeout", "success_codes": "0,3", "idle_timeout": "5m",
        "locks": "db,gpu", "needs": "gpu=2", "labels": "a=b", "expires": "1h", "store": "~/q", "keep_jobs": "100", "keep_logs": "1G",
        "worker.jobs": "2", "worker.on_stop": "leave", "timeout": "1500ms", "log_max": "100000",
    }  # fmt: skip
    row = next(other for other in ROWS if other is row)
    value = row.parse(samples[row.name]) if row.name in samples else row.option.default
    assert values_of(with_value("", row, value), "") == {row.name: value}
