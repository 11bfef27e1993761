"""Small trainings under the real PyTorch on emulated cards. Expected sizes are computed here from the shapes."""

import pytest

MIB = 1 << 20


@pytest.fixture(scope="module")
def outcome(emulated):
    return emulated("training.py", ["ampere"])


@pytest.fixture(scope="module")
def result(outcome):
    return outcome.result


def test_what_the_host_put_there_comes_back(result):
    found = result["values_come_back"]
    assert found["list"] == [1.5, -2.0, 3.0]
    assert found["item"] == -2.0
    assert found["last_id"] == 99_999
    assert found["any"] is False
    assert found["pinned"] == 7.0


def test_adam_holds_four_copies_of_the_parameters(result):
    found = result["mlp_with_adam"]
    parameters = found["parameters"]
    assert parameters == (1024 * 4096 + 4096 + 4096 * 1024 + 1024) * 4
    # Live after a step: parameters, gradients, two Adam states, cuBLAS' workspaces (8.1 MiB for each direction).
    assert 4 * parameters <= found["live"] <= 4 * parameters + 18 * MIB
    # The optimizer's step has one temporary of the parameters' size.
    assert 5 * parameters <= found["allocated"] <= 5 * parameters + 18 * MIB


def test_checkpointing_takes_less(result):
    # Saved by a plain block for the backward pass: 4096 rows of input, hidden before and after GELU.
    found = result["checkpointing"]
    plain_block = 4096 * (512 + 2048 + 2048) * 4
    assert found["plain"] >= 4 * plain_block
    assert found["checkpointed"] < found["plain"] / 1.5


@pytest.mark.parametrize("case", ["transformer_with_autocast", "convolutions", "attention_backends", "library_scratch"])
def test_runs(result, case):
    assert result[case]["allocated"] > 0
    assert result[case]["reserved"] >= result[case]["allocated"]


@pytest.mark.sweep
def test_a_convolution_takes_the_workspace_that_cudnn_asks_for(emulated, result):
    found = result["convolution_scratch"]
    if found["cudnn"] < 90800:
        assert found["scratch"] == 0
        pytest.skip("this cuDNN can't be asked without a card")
    # Transformed weights and tiles of the input: no less than a quarter of it, no more than it.
    assert 32 * 64 * 56 * 56 <= found["scratch"] <= 32 * 64 * 56 * 56 * 4.1
    alone = emulated("training.py", ["ampere"], machine={"ask_libraries": False})
    assert alone.result["convolution_scratch"]["scratch"] == 0
    assert "cuDNN engines need no workspace" in alone.ledger["assumed"]


def test_out_of_memory_is_pytorchs_own(result):
    found = result["out_of_memory"]
    assert "CUDA out of memory. Tried to allocate 24.00 GiB" in found["text"]
    assert "GPU 0 has a total capacity of 24.00 GiB" in found["text"]
    assert "this process has" in found["text"]
    # The card was filled to the last block: context, what PyTorch held, 256 MiB blocks, and less than one is left.
    assert found["free"] < 256 * MIB
    # A segment of 20 MiB that PyTorch gave back in between may be counted in `before`.
    assert abs(400 * MIB + found["before"] + found["filled"] + found["free"] - 24 * 1024 * MIB) <= 20 * MIB


def test_streams_and_graphs(result):
    assert result["streams_events_graphs"]["ms"] > 0
    assert result["streams_events_graphs"]["done"] is True


def test_pinned_loader_with_workers(result):
    assert result["loader"]["sums"] == [120.0, 376.0, 632.0, 888.0]


def test_ledger(outcome):
    ledger = outcome.ledger
    device = ledger["devices"][0]
    assert ledger["unmodelled"] == {}
    assert device["context_bytes"] == 400 * MIB
    assert device["peak_bytes"] <= device["total_bytes"]
    assert device["peak_bytes"] >= device["context_bytes"] + outcome.result["out_of_memory"]["filled"]
    assert len(device["out_of_memory"]) >= 2
    assert ledger["pinned_host"]["peak_bytes"] > 0
    assert ledger["skipped"]["kernels"] > 500


@pytest.mark.sweep
def test_the_same_run_twice_is_the_same(emulated, outcome):
    again = emulated("training.py", ["ampere"], again=1)
    assert again.result == outcome.result

    def comparable(ledger):
        # The thread that pins batches runs beside the program: how often it asks for an event, and whether page-locked
        # memory is free again when it wants the next, is a matter of timing.
        return {k: v for k, v in ledger.items() if k not in ("process_id", "virtual_ms", "pinned_host")}

    assert comparable(again.ledger) == comparable(outcome.ledger)
