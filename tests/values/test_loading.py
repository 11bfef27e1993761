"""Without the extension a dry run goes on, and says that its values are not true."""

import pytest


@pytest.fixture(scope="module")
def result(with_values, tmp_path_factory):
    return with_values("unloaded.py", "hopper", VRAMWISE_VALUES_DIR=str(tmp_path_factory.mktemp("empty"))).result


def test_it_says_why(result):
    assert "switched off" in result["notes"]["off"]
    assert "/bin/false failed" in result["notes"]["fails"]
    assert "no C++ compiler" in result["notes"]["none"]


def test_the_program_goes_on(result):
    assert result["report"] is None
    assert result["full"] == [0.0, 0.0]
