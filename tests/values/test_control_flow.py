"""What programs decide by values in device memory goes as in a real run, though large arithmetic is skipped."""

import pathlib

import pytest

SCRIPT = pathlib.Path(__file__).resolve().parent / "scripts" / "control_flow.py"


@pytest.fixture(scope="module")
def balanced(together, of):
    return of(together, "control_flow")


@pytest.fixture(scope="module")
def worst(otherwise, of):
    return of(otherwise, "control_flow")


def test_kernels_take_the_memory_of_the_true_sizes(balanced):
    found = balanced["sizes"]
    assert found["found"] == [33_334, 1]
    assert found["taken"] == -(-33_334 * 8 // 512) * 512
    # The rows, the indices that select them, and scratch of some KiB.
    assert 50_000 * (8 * 4 + 8) <= found["selected_peak"] <= 50_000 * (8 * 4 + 8) + (128 << 10)


def test_what_was_not_computed_reads_as_the_fill(balanced):
    found = balanced["unknown_reads_as_the_fill"]
    assert found["same_block"], "the test needs the block to be used again"
    assert found["values"] == [0.0]
    assert found["loss"] == 0.0
    assert found["list"] == 0.0


def test_a_size_that_hangs_on_what_was_not_computed_is_named(balanced):
    assert balanced["sizes_by_what_was_not_computed"] == {"kept": 0}
    lines = SCRIPT.read_text().splitlines()
    number = next(i for i, text in enumerate(lines, 1) if "y[y > 0]" in text)
    place = f"control_flow.py:{number} in sizes_by_what_was_not_computed"
    (sized,) = [each for each in balanced["report"]["sized"] if each["place"].endswith(place)]
    assert (sized["operator"], sized["taken"], sized["most"]) == ("aten::nonzero", 0, 4096)


def test_reads_of_what_was_not_computed_are_counted_by_line(balanced):
    read = balanced["report"]["read"]
    assert sum(read.values()) >= 2
    assert any("control_flow.py:" in place for place in read), read


def test_unknown_values_spread_no_further_than_they_must(balanced):
    found = balanced["unknown_spreads_and_heals"]
    assert found["flag"] == [False, True, False]
    assert found["rest"] == [True, False]
    assert found["spread"] == 0.0
    assert found["healed"] == 8.0


def test_skipped_numbers_are_finite(balanced):
    expected = {"isfinite": True, "isnan": False, "isinf": False, "itself": False, "norm": True, "below": True}
    assert balanced["finite"] == expected
    assert balanced["report"]["assumed_finite"]


def test_sampling_from_skipped_probabilities_goes_on(balanced):
    assert balanced["sampling"] == {"next": [4, 1]}


def test_the_loss_scale_grows_as_without_overflow(balanced):
    assert balanced["scaler"] == {"scales": [1024.0, 2048.0, 2048.0], "steps": 3}


def test_masks_are_those_that_the_program_made(balanced):
    assert balanced["masks"] == {
        "all": False,
        "first_all": True,
        "packed": True,
        "lengths": [700, 1348],
        "longest": 1348,
        "unpadded": [3548, 1],
    }


def test_random_numbers_are_spread_as_they_should_be(balanced):
    found = balanced["masked_language_model"]
    assert found["share"] == pytest.approx(0.15, abs=0.02)
    assert 5 <= found["range"][0] < 100
    assert 29_900 < found["range"][1] < 30_000
    assert found["kinds"] > 6000


def test_balanced_routing_gives_each_expert_its_share(balanced):
    found = balanced["experts"]
    assert found["rows"] == [1024] * 8
    assert found["counts"] == [1024] * 8
    assert found["offsets"] == [1024 * (i + 1) for i in range(8)]
    assert found["ordered"]
    assert found["top1"] == [512] * 8
    assert balanced["many_experts"] == {"hit": 128, "first": 512}
    assert balanced["grouped_experts"] == {"groups": [4.0], "counts": [192]}


def test_worst_routing_gives_two_experts_everything(worst):
    found = worst["experts"]
    assert found["rows"] == [4096] * 2
    assert found["counts"] == [4096, 4096, 0, 0, 0, 0, 0, 0]
    assert found["top1"] == [4096, 0, 0, 0, 0, 0, 0, 0]
    assert worst["many_experts"] == {"hit": 8, "first": 8192}


def test_weights_that_use_up_the_hosts_budget_leave_small_tensors_true(balanced, worst):
    assert balanced["weights"] == {"sum": 10}
    assert worst["weights"] == {"sum": 10}
    for case in ("scaler", "masks", "sizes", "finite"):
        assert worst[case] == balanced[case]


def test_the_report_names_the_routing(balanced, worst):
    assert balanced["report"]["routing"] == "balanced"
    assert worst["report"]["routing"] == "worst"
    assert {"operator": "aten::topk", "rows": 8192, "taken": 8, "choices": 128, "times": 1} in balanced["report"][
        "routed"
    ]


def test_nothing_was_given_up(balanced):
    assert balanced["report"]["failed"] == []
