"""torchtune's recipe: the tape allocates what it does, in its order, and comes to the same peaks: as runs of the real
one that record_torchtune.py kept, and as runs that are drawn anew where VRAMWISE_TUNE_PYTHON names a Python that has
torchtune 0.6.1; the seed of those is printed.
"""

import os
import random

import compare
import compare_models
import pytest
import record_torchtune
import tune_cases

PYTHON = os.environ.get("VRAMWISE_TUNE_PYTHON")


@pytest.fixture(scope="module")
def recorded():
    if compare_models.program() is None:
        pytest.skip("tape_models is not built")
    return record_torchtune.read()


def test_recorded_runs_of_the_recipe_allocate_as_the_tape_says(recorded):
    builders = {row["run"]["model"]["_component_"].rpartition(".")[2] for row in recorded}
    assert builders == {"llama3", "llama3_2", "mistral", "qwen2"}
    wrong = [f"{row}\non the tape: {ours}" for row, ours in record_torchtune.differences(recorded)]
    assert not wrong, f"{len(wrong)} of {len(recorded)} differ:\n" + "\n".join(wrong[:2])


@pytest.mark.parametrize("what", ["allocated", "reserved", "events", "digest"])
def test_a_recorded_run_that_comes_out_otherwise_is_seen(recorded, what):
    row = recorded[0]
    other = row["torchtune"][what] + (1 if what != "digest" else "0")
    changed = {**row, "torchtune": row["torchtune"] | {what: other}}
    assert [seen for seen, _ in record_torchtune.differences([changed, row])] == [changed]


@pytest.mark.sweep
@pytest.mark.parametrize("card", ["ampere", "hopper"])
def test_the_recipe_allocates_as_the_tape_says(card):
    if not PYTHON or compare_models.program() is None:
        pytest.skip("VRAMWISE_TUNE_PYTHON is not set, or tape_models is not built")
    seed = int(os.environ.get("VRAMWISE_SEED", random.randrange(10**6)))
    print("seed", seed)
    rng = random.Random(f"{seed} {card}")
    runs = [tune_cases.draw_run(rng) for _ in range(int(os.environ.get("VRAMWISE_RUNS", "12")))]
    torch = compare.from_torch(runs, card, PYTHON, compare.values_environment(), "tune_side.py")
    results = compare_models.compared(runs, card, torch=torch)
    different = [result for result in results if not result.equal()]
    message = "\n".join(result.text() for result in different[:2])
    assert not different, f"seed {seed}, {len(different)} of {len(results)} differ:\n{message}"
