"""Cards of all kinds, and what a process sees of them."""

import machine
import pytest

MIB = 1 << 20
GIB = 1 << 30


def test_unequal_cards_in_the_order_of_cuda_visible_devices(emulated):
    result = emulated("cards.py", ["ampere", "turing", "hopper"], env={"CUDA_VISIBLE_DEVICES": "2,1"}).result
    assert result["names"] == ["Test card 9.0", "Test card 7.5"]
    assert result["totals"] == [80 * GIB, 8 * GIB]
    assert result["moved"] == [0, 1, 2, 3, 4]
    assert result["free"][1] == 8 * GIB - 400 * MIB - GIB - 2 * MIB
    # NVML shows the whole machine, and its own totals.
    assert [c["name"] for c in result["nvml"]] == ["Test card 8.6", "Test card 7.5", "Test card 9.0"]
    assert result["nvml"][0]["total"] == 24 * GIB + 512 * MIB


@pytest.mark.sweep
def test_no_card_is_visible(emulated):
    script = "import torch; print(torch.cuda.is_available(), torch.cuda.device_count())"
    outcome = emulated([machine.PYTHON, "-c", script], ["ampere"], env={"CUDA_VISIBLE_DEVICES": ""})
    assert outcome.out.split() == ["False", "0"]


def test_expandable_segments_remap_what_fragmentation_would_waste(emulated):
    setting = {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"}
    expandable = emulated("expandable.py", ["hopper"], env=setting)
    plain = emulated("expandable.py", ["hopper"])
    assert all(expandable.result["expandable"]) and not any(plain.result["expandable"])
    assert expandable.result["allocated"] == plain.result["allocated"]
    assert expandable.result["reserved"] != plain.result["reserved"]
    # Hopper's attention goes through cuDNN in this PyTorch; it did not before 2.9.
    preferred = "Cudnn" if plain.result["torch"] >= [2, 9] else "Flash"
    assert plain.result["attention"] == f"ScaledDotProduct{preferred}AttentionBackward0"
    for outcome in (expandable, plain):
        assert outcome.ledger["unmodelled"] == {}
        if outcome.result["cudnn"] >= 90800:
            assert "cuDNN engines need no workspace" not in outcome.ledger["assumed"]


def test_a_card_that_the_wheel_has_no_code_for(emulated):
    script = "import torch; print(torch.cuda.get_arch_list()); torch.zeros(3, device='cuda') + 1"
    outcome = emulated([machine.PYTHON, "-c", script], ["pascal"])
    if "sm_60" in outcome.out:
        assert outcome.code == 0  # the wheels for CUDA 12 had it
        return
    assert outcome.code == 1
    assert "no kernel image is available for execution on the device" in outcome.err


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


@pytest.mark.parametrize(
    ("faults", "failures", "blocks"),
    [
        ({"other_grows_at": 4, "other_grows_by_bytes": 24 * GIB}, 5, 3),
        # PyTorch frees its cache and tries once more
        pytest.param({"fail_allocation": 3}, 0, 8, marks=pytest.mark.sweep),
        pytest.param({"fail_probability": 1, "seed": 3}, 8, 0, marks=pytest.mark.sweep),
    ],
)
def test_faults(emulated, faults, failures, blocks):
    result = emulated("fault.py", ["ampere"], machine={"faults": faults}).result
    assert (result["failures"], result["blocks"]) == (failures, blocks)
    assert result["ooms"] == failures


def test_children_stay_inert_and_a_fork_is_refused(emulated):
    outcome = emulated("children.py", ["ampere"])
    assert outcome.result["quiet"] == ["child\n", ""]
    assert "Cannot re-initialize CUDA in forked subprocess" in outcome.result["forked"]
    assert len(outcome.ledgers) == 1


@pytest.mark.sweep
def test_without_a_description_it_says_so(emulated):
    script = "import torch; print(torch.cuda.is_available())"
    outcome = emulated([machine.PYTHON, "-c", script], [], env={"VRAMWISE_GPUS": ""})
    assert outcome.out.strip() == "False"
    assert "VRAMWISE_GPUS is not set" in outcome.err


def test_a_thread_that_comes_back_when_python_is_gone_does_not_abort(emulated):
    outcome = emulated("ends_early.py", ["ampere"])
    assert outcome.result == "done"
    assert len(outcome.ledgers) == 1


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
