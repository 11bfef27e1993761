"""Cards of all kinds, and what a process sees of them."""

import machine
import pytest

MIB = 1 << 20
GIB = 1 << 30


@pytest.fixture(scope="module")
def four_cards(emulated):
    cards = ["ampere", "turing", "hopper", "pascal"]
    return emulated("cards.py", cards, env={"CUDA_VISIBLE_DEVICES": "2,1,3"}).result


def test_unequal_cards_in_the_order_of_cuda_visible_devices(four_cards):
    assert four_cards["names"] == ["Test card 9.0", "Test card 7.5", "Test card 6.1"]
    assert four_cards["totals"] == [80 * GIB, 8 * GIB, 8 * GIB]
    assert four_cards["moved"] == [0, 1, 2, 3, 4]
    assert four_cards["free"][1] == 8 * GIB - 400 * MIB - GIB - 2 * MIB
    # NVML shows the whole machine, and its own totals.
    assert [c["name"] for c in four_cards["nvml"]] == [f"Test card {number}" for number in ("8.6", "7.5", "9.0", "6.1")]
    assert four_cards["nvml"][0]["total"] == 24 * GIB + 512 * MIB


def test_a_card_that_the_wheel_has_no_code_for(four_cards):
    if "sm_60" in four_cards["architectures"]:  # the wheels for CUDA 12 had it
        assert four_cards["old"] == "worked"
    else:
        assert "no kernel image is available for execution on the device" in four_cards["old"]


@pytest.mark.sweep
def test_no_card_is_visible(emulated):
    script = "import torch; print(torch.cuda.is_available(), torch.cuda.device_count())"
    outcome = emulated([machine.PYTHON, "-c", script], ["ampere"], env={"CUDA_VISIBLE_DEVICES": ""})
    assert outcome.out.split() == ["False", "0"]


def test_expandable_segments_remap_what_fragmentation_would_waste(emulated):
    outcome = emulated("expandable.py", ["hopper"])
    plain, remapped = outcome.result["plain"], outcome.result["remapped"]
    assert all(remapped["expandable"]) and not any(plain["expandable"])
    assert remapped["allocated"] == plain["allocated"]
    assert remapped["reserved"] != plain["reserved"]
    # Hopper's attention goes through cuDNN in this PyTorch; it did not before 2.9.
    preferred = "Cudnn" if outcome.result["torch"] >= [2, 9] else "Flash"
    assert outcome.result["attention"] == f"ScaledDotProduct{preferred}AttentionBackward0"
    assert outcome.ledger["unmodelled"] == {}
    if outcome.result["cudnn"] >= 90800:
        assert "cuDNN engines need no workspace" not in outcome.ledger["assumed"]


@pytest.mark.sweep
def test_fsdp2_as_rank_0_of_8(emulated):
    outcome = emulated(
        [machine.PYTHON, str(machine.HERE / "scripts" / "fsdp2.py"), "8"],
        [{**machine.CARDS["hopper"], "communicator_bytes": 500 * MIB}],
    )
    result = outcome.result
    assert result["local"] == 2048 * 2048 * 4 // 8
    assert result["lengths"] == [37] * 8
    # Parameters and two Adam states, an eighth each; gradients are gone. Beside them two cuBLAS workspaces of 32 MiB.
    assert 3 * result["whole"] // 8 <= result["live"] <= 3 * result["whole"] // 8 + 66 * MIB
    device = outcome.ledger["devices"][0]
    assert device["peak_bytes"] >= device["context_bytes"] + 500 * MIB + result["live"]


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("faults", "failures", "blocks"),
    [
        ({"other_grows_at": 4, "other_grows_by_bytes": 24 * GIB}, 5, 3),
        ({"fail_allocation": 3}, 0, 8),  # PyTorch frees its cache and tries once more
        ({"fail_probability": 1, "seed": 3}, 8, 0),
    ],
)
def test_faults(emulated, faults, failures, blocks):
    result = emulated("fault.py", ["ampere"], machine={"faults": faults}).result
    assert (result["failures"], result["blocks"]) == (failures, blocks)
    assert result["ooms"] == failures


@pytest.mark.sweep
def test_without_a_description_it_says_so(emulated):
    script = "import torch; print(torch.cuda.is_available())"
    outcome = emulated([machine.PYTHON, "-c", script], [], env={"VRAMWISE_GPUS": ""})
    assert outcome.out.strip() == "False"
    assert "VRAMWISE_GPUS is not set" in outcome.err


@pytest.mark.sweep
def test_events_lag_on_the_virtual_clock(emulated):
    at_once = emulated("lag.py", ["ampere"])
    lagging = emulated("lag.py", ["ampere"], machine={"lag": True})
    assert (at_once.result["early"], at_once.result["asked"]) == (True, 0)
    assert lagging.result["early"] is False
    assert lagging.result["asked"] > 0
    # While a block is in use elsewhere the next one has to be new.
    assert at_once.result["reserved"] == 32 * MIB
    assert lagging.result["reserved"] > 64 * MIB
    assert emulated("lag.py", ["ampere"], again=1, machine={"lag": True}).result == lagging.result


@pytest.mark.sweep
def test_strict_ends_at_the_first_call_that_is_not_modelled(emulated):
    lenient = emulated("unmodelled.py", ["ampere"])
    assert lenient.result == "went on"
    assert set(lenient.ledger["unmodelled"]) == {"cufftXtMakePlanMany", "cudnnGetRNNTempSpaceSizes"}
    strict = emulated("unmodelled.py", ["ampere"], machine={"strict": True})
    assert strict.code == -machine.signal.SIGABRT
    assert "is not modelled, and the run is strict" in strict.err
    assert strict.ledger["unmodelled"] == {"cufftXtMakePlanMany": 1}
