"""The quick form of every fault case, as a test; checks of the catalogue of cases and seeds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.faults.case import ROOT, Bench, Case, Skipped
from tests.faults.catalogue import CASES, COVERED, SEEDS, WAITING, Covered, Waiting, name_of
from tests.faults.seed import Seed


@pytest.mark.parametrize("case", [c for c in CASES if c.in_suite], ids=lambda c: c.name)
def test_case(case: Case, tmp_path: Path) -> None:
    bench = Bench(tmp_path, full=False)
    try:
        figures = case.run(bench)
    except Skipped as reason:
        pytest.skip(str(reason))
    finally:
        bench.close()
    assert not figures.bad, "\n".join(figures.bad[:20])
    assert figures.n, "nothing was tried"


def test_every_case_has_a_name_and_a_number_of_its_own() -> None:
    cases: list[Case | Covered | Waiting] = [*CASES, *COVERED, *WAITING]
    assert [c.name for c in cases if not re.fullmatch(r"[a-z]+(-[a-z0-9]+)*", c.name)] == []
    words = [word for c in cases for word in (c.name, c.number)]
    assert len(words) == len(set(words))


@pytest.mark.parametrize("seed", SEEDS, ids=lambda s: s.fault)
def test_a_seeded_fault_fits_the_code(seed: Seed) -> None:
    assert seed.applies()
    assert name_of(seed.caught_by) or (ROOT / seed.caught_by.partition("::")[0]).is_file()
    compile(seed.path.read_text(encoding="utf-8").replace(seed.old, seed.new), seed.file, "exec")
