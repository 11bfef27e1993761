"""Operations on small tensors have on the emulated card the values that they have on the CPU."""

import pytest


@pytest.fixture(scope="module")
def result(together, of):
    return of(together, "operations")


def test_every_operation_agrees_with_the_cpu(result):
    assert result["operations"] >= 55
    assert result["wrong"] == {}


def test_nothing_was_given_up(result):
    assert result["report"]["failed"] == []
    assert result["report"]["routed"] == [], "no score was unknown here"


def test_the_programs_own_random_numbers_stay(result):
    assert result["generator_untouched"]
