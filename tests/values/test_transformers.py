"""transformers' models decide on an emulated card as they do on the CPU. Only where transformers is installed."""

import pytest

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def balanced(together, of):
    return of(together, "models")


def test_masks_and_packed_sequences_are_recognized_as_on_the_cpu(balanced):
    assert balanced["card"] == balanced["cpu"]
    assert balanced["cpu"]["packed"]["packed"] is True
    assert balanced["cpu"]["plain"]["mask"] is None
    assert balanced["cpu"]["padded"]["mask"] is not None


def test_each_expert_gets_its_share(balanced):
    # 2 layers of 8 experts; 2048 tokens choose 2 each.
    assert balanced["experts"]["eager"]["rows"] == [512] * 16
    assert balanced["experts"]["grouped_mm"]["peak"] > 0


@pytest.mark.sweep
def test_the_worst_case_is_two_experts_with_all_tokens(with_values):
    worst = with_values("models.py", "hopper", VRAMWISE_ROUTING="worst").result
    assert worst["experts"]["eager"]["rows"] == [2048] * 4
