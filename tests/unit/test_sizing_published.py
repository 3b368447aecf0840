"""Published figures: the even rows, on which no constant was fitted, come out within what the issue allows."""

from __future__ import annotations

import pytest

from bench.size import Compared, compared
from gpuwright.plan.sizing.constants import BANDS

ROWS = list(compared())
EVEN = [row for row in ROWS if row.number % 2 == 0 and not row.left_out]
LIMITS = {"weights": 0.02, "kv": 0.02, "total": 0.08}


def test_there_is_something_to_compare() -> None:
    assert len(ROWS) > 100
    assert sum(bool(row.left_out) for row in ROWS) < 10


@pytest.mark.parametrize("row", [row for row in EVEN if row.kind in LIMITS], ids=lambda row: row.id)
def test_memory(row: Compared) -> None:
    assert abs(row.error) <= LIMITS[row.kind]


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.kind == "fit" and not row.left_out], ids=lambda row: row.id
)
def test_what_passes_did_fit_and_what_does_not_failed(row: Compared) -> None:
    """TIGHT is within the error of the estimate: such rows may have gone either way."""
    assert row.words == "TIGHT" or (row.words == "PASS") == row.row["fits"]


@pytest.mark.parametrize("engine", BANDS)
def test_four_of_five_decoded_within_the_band(engine: str) -> None:
    rows = [row for row in ROWS if row.kind == "decode" and not row.left_out and row.row["engine"] == engine]
    low, high = BANDS[engine]
    inside = sum(low <= row.published / row.predicted <= high for row in rows)
    assert len(rows) > 20
    assert inside >= 0.8 * len(rows)
