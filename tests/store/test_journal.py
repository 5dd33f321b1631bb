"""The bytes of the journal: every truncation, every damaged byte, and the first write after a crash."""

from __future__ import annotations

import os
import shutil
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobq.errors import StoreDamaged, StoreTooNew
from jobq.job import Ending, Job, Outcome, Spec
from jobq.moment import Moment
from jobq.rules import lifecycle
from jobq.store import check, repair, view
from jobq.store.format import JOURNAL
from jobq.store.hint import HINT, Hint, read_hint
from jobq.store.journal import BadLine, Header, decode_line, encode_line, parse_lines, parse_object
from jobq.store.store import Store
from jobq.store.transaction import Add
from tests.helpers.changes import update

NOW = Moment(1_700_000_000.0, 5_000.0, "boot")
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(st.text().filter(lambda key: key != "crc"), JSON, min_size=1))
def test_a_decoded_line_equals_its_record(record: dict[str, object]) -> None:
    line = encode_line(record)
    assert line.isascii()
    assert line.count(b"\n") == 1
    decoded = decode_line(line[:-1])
    decoded.pop("crc")
    assert decoded == record


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_reader(data: bytes) -> None:
    for read in (decode_line, parse_object):
        try:
            assert isinstance(read(data), dict)
        except BadLine:
            pass
    assert Hint.decode(data) is None or data.strip()
    parse_lines(data, 0, 0)


@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000, b'{"a":' + b"1" * 5_000 + b"}", b'{"a":1e999}', b'{"a":NaN}', b"[]", b'{"a":"\xff"}', b"{" * 9],
)
def test_hostile_json_with_a_right_checksum_is_a_bad_line(body: bytes) -> None:
    line = b'%b,"crc":"%08x"}' % (body[:-1], zlib.crc32(body[:-1]))
    with pytest.raises(BadLine):
        decode_line(line)
    with pytest.raises(BadLine):
        parse_object(body)


def make_history(path: Path) -> list[tuple[int, dict[int, Job]]]:
    """Make a store with varied transactions; return the end of each (bytes) and the jobs at that point."""
    store = Store(str(path))
    spec = Spec("/", store.save_environment({"A": "1"}))
    points = []

    def note() -> None:
        state = store.read()
        points.append((store.journal_size[0], dict(state.jobs)))

    store.append(Add(spec, ["one", ("two", "2")]), NOW.wall)
    note()
    update(store, lambda state: [lifecycle.claim(state.jobs[1], NOW, owner="w", supervisor="w/0")], NOW.wall)
    note()
    store.append(Add(spec, ["x" * 200_000, "y" * 200_000, "z"]), NOW.wall)  # several lines, one transaction
    note()
    end = Ending(Outcome.EXIT, status=1, started_at=1.0)
    update(store, lambda state: [lifecycle.finish(state.jobs[1], end, NOW, 0.5), Add(spec, ["more"])], NOW.wall)
    note()
    store.close()
    return points


def jobs_of(path: Path) -> dict[int, Job]:
    store = Store(str(path))
    try:
        return dict(store.read().jobs)
    finally:
        store.close()


def interesting(size: int, points: list[int]) -> list[int]:
    """Return the offsets near each of `points`, and a sample of those in between."""
    near = {at + d for at in points for d in range(-40, 41)}
    return sorted({at for at in near | set(range(0, size, 4999)) if 0 <= at <= size})


def test_every_truncation_without_a_hint_keeps_whole_transactions_and_nothing_else(tmp_path: Path) -> None:
    points = make_history(tmp_path / "s")
    data = (tmp_path / "s" / JOURNAL).read_bytes()
    start = points[0][0] - 200  # well inside the first transaction
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / "s", copy)
    for size in [at for at in interesting(len(data), [end for end, _ in points]) if at >= start]:
        for tail in (b"", b"\0" * 50, b'{"seq":3,"at', b"\n"):
            (copy / JOURNAL).write_bytes(data[:size] + tail)
            (copy / HINT).unlink(missing_ok=True)
            whole = size + (tail == b"\n")  # the newline may be the byte that was cut off
            expected: dict[int, Job] = next((jobs for end, jobs in reversed(points) if end <= whole), {})
            assert jobs_of(copy) == expected, (size, tail)
            store = Store(str(copy))
            new = store.append(Add(Spec("/", points_env(copy)), ["after"]), NOW.wall)
            assert new[0] == max(expected, default=0) + 1
            assert jobs_of(copy).keys() == {*expected, new[0]}
            store.close()


def points_env(path: Path) -> str:
    return next((path / "env").iterdir()).stem


def test_missing_acknowledged_bytes_are_damage_for_readers_and_writers(tmp_path: Path) -> None:
    points = make_history(tmp_path / "s")
    data = (tmp_path / "s" / JOURNAL).read_bytes()
    for size in [at for at in interesting(len(data), [end for end, _ in points]) if at < len(data)]:
        (tmp_path / "s" / JOURNAL).write_bytes(data[:size])
        store = Store(str(tmp_path / "s"))
        with pytest.raises(StoreDamaged) as damage:
            store.read()
        assert str(damage.value.offset) in str(damage.value)
        with pytest.raises(StoreDamaged):
            store.append(Add(Spec("/", points_env(tmp_path / "s")), ["x"]), NOW.wall)
        assert (tmp_path / "s" / JOURNAL).read_bytes() == data[:size]
        store.close()


def test_every_damaged_byte_is_reported_and_costs_only_its_line(tmp_path: Path) -> None:
    points = make_history(tmp_path / "s")
    path = tmp_path / "s" / JOURNAL
    data = path.read_bytes()
    everything = jobs_of(tmp_path / "s")
    offsets = interesting(len(data) - 1, [end for end, _ in points])
    for at in [at for at in offsets if at < len(data)]:
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x04]) + data[at + 1 :])
        with pytest.raises(StoreDamaged):
            jobs_of(tmp_path / "s")
        assert path.read_bytes()[:at] == data[:at]
    damaged = data[: points[0][0] + 10] + b"\xff" + data[points[0][0] + 11 :]
    path.write_bytes(damaged)
    store = Store(str(tmp_path / "s"))
    loss = repair.repair(store, NOW.wall)
    assert (loss.lines, Path(loss.kept_as).read_bytes()) == (1, damaged)
    assert store.read().jobs.keys() == everything.keys()
    assert list(check.problems(store)) == []
    store.close()


def test_a_whole_transaction_after_the_hint_is_kept_and_a_torn_one_is_cut_off(tmp_path: Path) -> None:
    make_history(tmp_path / "s")
    store = Store(str(tmp_path / "s"))
    before = store.read().jobs.keys()
    old_hint = (tmp_path / "s" / HINT).read_bytes()
    env = points_env(tmp_path / "s")
    (kept,) = store.append(Add(Spec("/", env), ["kept"]), NOW.wall)
    with (tmp_path / "s" / JOURNAL).open("ab") as f:
        f.write(b'{"seq":')
    (tmp_path / "s" / HINT).write_bytes(old_hint)  # the writer died between the sync and the hint
    (next_one,) = Store(str(tmp_path / "s")).append(Add(Spec("/", env), ["next"]), NOW.wall)
    assert next_one == kept + 1
    assert jobs_of(tmp_path / "s").keys() == {*before, kept, next_one}


def test_a_hole_in_the_last_transaction_is_torn_and_a_hole_before_it_is_damage() -> None:
    def line(seq: int, part: int, *, commit: bool) -> bytes:
        record = (
            {"seq": seq, "at": 1.0, "ops": []} | ({"part": part} if part else {}) | ({"commit": True} if commit else {})
        )
        return encode_line(record)

    hole = b"\0" * 30 + b"\n"
    torn = parse_lines(hole + line(2, 1, commit=True), 0, 0)
    assert (torn.torn, torn.damage) == (True, None)
    later = parse_lines(hole + line(2, 0, commit=True), 0, 0)
    assert later.damage is not None
    gap = parse_lines(line(1, 0, commit=True) + line(3, 0, commit=True), 0, 0)
    assert gap.damage == (len(line(1, 0, commit=True)), "line 2 is missing")
    assert gap.seq == 1


def test_a_store_of_a_later_format_is_refused_and_left_unchanged(tmp_path: Path) -> None:
    make_history(tmp_path / "s")
    path = tmp_path / "s" / JOURNAL
    header, _, rest = path.read_bytes().partition(b"\n")
    for key in ("min_reader", "min_writer"):
        record = decode_line(header) | {"format": 99, key: 99, "version": "9.9"}
        record.pop("crc")
        line = encode_line(record)
        fresh = Store(str(tmp_path / "s"))
        hint = read_hint(fresh.root)
        assert hint is not None
        moved = len(line) - len(header) - 1
        (tmp_path / "s" / HINT).write_bytes(
            Hint(hint.generation, hint.size + moved, hint.seq, hint.next_id, hint.snapshot_end + moved).encode()
        )
        path.write_bytes(line + rest)
        before = path.read_bytes()
        store = Store(str(tmp_path / "s"))
        if key == "min_reader":
            with pytest.raises(StoreTooNew, match=r"9\.9"):
                store.read()
        else:
            assert len(store.read().jobs) == 6
        with pytest.raises(StoreTooNew):
            store.append(Add(Spec("/", points_env(tmp_path / "s")), ["x"]), NOW.wall)
        assert path.read_bytes() == before
        store.close()
        (tmp_path / "s" / HINT).write_bytes(hint.encode())
        path.write_bytes(header + b"\n" + rest)


def test_a_missing_journal_is_damage_not_a_new_store(tmp_path: Path) -> None:
    make_history(tmp_path / "s")
    (tmp_path / "s" / JOURNAL).unlink()
    store = Store(str(tmp_path / "s"))
    with pytest.raises(StoreDamaged):
        store.read()
    with pytest.raises(StoreDamaged):
        store.append(Add(Spec("/", "0" * 64), ["x"]), NOW.wall)
    assert JOURNAL not in os.listdir(tmp_path / "s")


def test_keys_of_later_versions_survive_a_rewrite(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "s"))
    env = store.save_environment({})
    store.append(Add(Spec("/", env, extra={"colour": "red"}), ["x"]), NOW.wall)
    update(store, lambda state: [state.jobs[1]._replace(extra={"mood": [1]})], NOW.wall)
    update(store, lambda state: [lifecycle.claim(state.jobs[1], NOW, owner="w", supervisor="w/0")], NOW.wall)
    job = jobs_of(tmp_path / "s")[1]
    assert job.spec.extra == {"colour": "red"}
    assert job.extra == {"mood": [1]}


@pytest.mark.parametrize("damage", ["cut off", "changed"])
def test_the_size_of_one_read_makes_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    points = make_history(tmp_path / "store")
    path = tmp_path / "store" / JOURNAL
    data = path.read_bytes()

    def outcome(step: int) -> object:
        monkeypatch.setattr(view, "STEP", step)
        store = Store(str(tmp_path / "store"))
        try:
            return dict(store.read().jobs), store.journal_size
        except StoreDamaged as e:
            return str(e)
        finally:
            store.close()

    (tmp_path / "store" / HINT).unlink()
    start = points[0][0]
    edges = {end + near for end, _ in points for near in (-2, -1, 0, 1) if start <= end + near < len(data)}
    for at in sorted(edges | set(range(start, len(data), len(data) // 50))):
        path.write_bytes(data[:at] if damage == "cut off" else data[:at] + b"#" + data[at + 1 :])
        assert outcome(1) == outcome(100) == outcome(1 << 20), at
    path.write_bytes(data)


@pytest.mark.parametrize("day", ["../../x", "2023-11-1", "\ud800", "2023-11-14.jsonl"])
def test_a_header_that_names_no_day_is_damage(day: str) -> None:
    line = Header(1, "u", "h", "0", {day: 1}).encode()
    with pytest.raises(StoreDamaged):
        Header.decode(line.rstrip(b"\n"), "journal")


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "\ud800" * 64, "A" * 64])
def test_a_malformed_digest_names_no_environment(store: Store, digest: str) -> None:
    store.save_environment({"A": "1"})
    with pytest.raises(StoreDamaged, match="not a digest"):
        store.load_environment(digest)
