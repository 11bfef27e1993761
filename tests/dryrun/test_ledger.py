"""The ledger against PyTorch's caching allocator, for steps of the trainer on emulated cards.

PyTorch counts what was requested and what it handed out; the latter is larger where the rest of a block was too small
to be cut off.
"""

import json

import machine
import pytest

MODEL = {
    "vocab_size": 256,
    "hidden_size": 512,
    "n_layers": 4,
    "n_heads": 8,
    "n_kv_heads": 4,
    "head_dim": 64,
    "intermediate_size": 1408,
    "rope_theta": 10000.0,
    "rms_norm_eps": 1e-5,
    "tie_embeddings": True,
}
STEP = {
    "micro_batch": 4,
    "seq_len": 500,
    "gradient_accumulation_steps": 1,
    "precision": "bf16",
    "checkpointed_blocks": 0,
    "loss_chunk_tokens": 1024,
    "offload_optimizer": False,
}
MIB = 1 << 20
# One workspace for the forward pass's thread and one for the backward pass's.
WORKSPACES = {"turing": 2 * 8320 * 1024, "ampere": 2 * 8320 * 1024, "hopper": 2 * 32 * MIB}


@pytest.fixture(scope="module")
def ledger_on_card():
    path = machine.emulator().parents[2] / "bin" / "ledger_on_card"
    if not path.exists():
        pytest.skip("ledger_on_card is not built beside the emulator")
    return path


CASES = {
    "plain": ("ampere", {}, {}),
    "larger_batch": ("ampere", {}, {"micro_batch": 8}),
    "longer": ("ampere", {}, {"seq_len": 1000}),
    "accumulation": ("ampere", {}, {"gradient_accumulation_steps": 3}),
    "fp32": ("ampere", {}, {"precision": "fp32"}),
    "fp16_on_turing": ("turing", {}, {"precision": "fp16"}),
    "hopper": ("hopper", {}, {}),
    "checkpoint_all": ("ampere", {}, {"checkpointed_blocks": 4}),
    "checkpoint_some": ("ampere", {}, {"checkpointed_blocks": 2}),
    "large_vocabulary": ("ampere", {"vocab_size": 32000}, {"loss_chunk_tokens": 512}),
    "one_chunk": ("ampere", {"vocab_size": 32000}, {"loss_chunk_tokens": 4096}),
    "long_sequence": ("ampere", {}, {"micro_batch": 1, "seq_len": 4096}),
    "offloaded": ("ampere", {}, {"offload_optimizer": True}),
    "untied": ("ampere", {"vocab_size": 8000, "tie_embeddings": False}, {}),
    "ungrouped": ("ampere", {"n_kv_heads": 8}, {}),
    "ungrouped_fp32": ("ampere", {"n_kv_heads": 8}, {"precision": "fp32"}),
}

FEW = ("plain", "fp32", "checkpoint_all")

# Two cases that differ in one knob of the plan.
KNOBS = {
    "micro_batch": ("plain", "larger_batch"),
    "seq_len": ("plain", "longer"),
    "accumulation": ("plain", "accumulation"),
    "precision": ("plain", "fp32"),
    "checkpoint_first_two": ("plain", "checkpoint_some"),
    "checkpoint_all": ("plain", "checkpoint_all"),
    "loss_chunk_tokens": ("large_vocabulary", "one_chunk"),
    "offload_optimizer": ("plain", "offloaded"),
}


def settings_file(folder, case, workspaces_bytes):
    card, model, step = CASES[case]
    facts = {
        "workspaces_bytes": workspaces_bytes,
        "capability": int(machine.CARDS[card]["capability"].replace(".", "")),
        "sm_count": machine.CARDS[card]["sm_count"],
    }
    settings = {"model": {**MODEL, **model}, "step": {**STEP, **step}, **facts}
    (folder / case).write_text(json.dumps(settings))
    return folder / case


@pytest.fixture(scope="module")
def measure(ledger_on_card, tmp_path_factory):
    """measure(case): what PyTorch counted and what was predicted. Each case is run once; FEW are one dry run."""
    known = {}

    def run(case):
        if case not in known:
            cases = FEW if case in FEW else (case,)
            (card,) = {CASES[each][0] for each in cases}
            folder = tmp_path_factory.mktemp(case)
            files = [str(settings_file(folder, each, WORKSPACES[card])) for each in cases]
            outcome = machine.run([str(ledger_on_card), *files], [card], folder)
            assert outcome.code == 0, outcome.err
            known.update(zip(cases, map(json.loads, outcome.out.splitlines()), strict=True))
            for each in cases:
                print(each, known[each])
        return known[case]

    return run


# One of each way in make test; the rest in make sweep.
@pytest.mark.parametrize(
    "case", [case if case in FEW else pytest.param(case, marks=pytest.mark.sweep) for case in CASES]
)
def test_live_and_reserved_bytes(measure, case):
    result = measure(case)
    predicted = result["predicted_allocated_bytes"]
    assert predicted == pytest.approx(result["requested_peak_bytes"], rel=0.01)
    assert predicted == pytest.approx(result["allocated_peak_bytes"], rel=0.03)
    assert result["predicted_reserved_bytes"] == result["reserved_peak_bytes"]


@pytest.mark.sweep
@pytest.mark.parametrize(("before", "after"), KNOBS.values(), ids=KNOBS.keys())
def test_a_knob_changes_what_was_predicted(measure, before, after):
    first, second = measure(before), measure(after)
    measured = second["requested_peak_bytes"] - first["requested_peak_bytes"]
    predicted = second["predicted_allocated_bytes"] - first["predicted_allocated_bytes"]
    print(f"measured {measured / MIB:+.2f} MiB, predicted {predicted / MIB:+.2f} MiB")
    # Requests are predicted in the allocator's granules of 512 bytes, a few hundred of them.
    assert abs(measured - predicted) <= 0.02 * abs(predicted) + MIB // 4
    assert (predicted == 0) == (before == "plain" and after == "accumulation")
    assert predicted == 0 or abs(predicted) > 8 * MIB
