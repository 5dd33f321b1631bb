"""The quick form of every fault case, as a test; and that the seeded faults still fit the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.case import Bench, Case, Skipped
from tests.faults.catalogue import CASES, SEEDS
from tests.faults.seed import Seed


@pytest.mark.parametrize("case", [c for c in CASES if c.in_suite], ids=lambda c: f"{c.number} {c.name}")
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


@pytest.mark.parametrize("seed", SEEDS, ids=lambda s: s.fault)
def test_a_seeded_fault_fits_the_code(seed: Seed) -> None:
    assert seed.applies()
    compile(seed.path.read_text().replace(seed.old, seed.new), seed.file, "exec")
