"""What is gathered over ranks is what every rank holds: this rank's own."""

import pytest


@pytest.fixture(scope="module")
def result(together, of):
    return of(together, "collectives")


def test_gathered_tensors_are_this_ranks_often(result):
    assert result["parts"] == [[5, 6, 7]] * 4
    assert result["whole"] == [5, 6, 7] * 4
    assert result["objects"] == [{"length": 17}] * 4


def test_a_maximum_over_ranks_is_this_ranks(result):
    assert result["largest"] == 7


def test_rows_exchanged_are_those_that_a_rank_sends_itself(result):
    assert result["received"] == [4, 4, 4, 4]
    assert result["exchanged"] == [0, 1] * 4


def test_what_was_not_computed_stays_unknown(result):
    assert result["skipped"] == [0.0] * 8
