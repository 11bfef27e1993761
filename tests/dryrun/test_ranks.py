"""One rank of many, alone. Expected sizes are computed here from the shapes in scripts/ranks.py."""

import json
import sys

import machine
import pytest

WORLD = 8
WIDTH = 1024
WEIGHTS = 4 * 2 * WIDTH * 4 * WIDTH * 4  # bytes in four blocks of two matrices, fp32
BIASES = 4 * 5 * WIDTH * 4
WHOLE = WEIGHTS + BIASES


@pytest.fixture(scope="module", params=[0, pytest.param(3, marks=pytest.mark.sweep)])
def outcome(request, dryrun):
    """(rank, the report, what the script saw)."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "gpu"]
    script = str(machine.HERE / "scripts" / "ranks.py")
    ended = dryrun("--json", "--gpu", f"{WORLD}xh100-80gb", "--rank", str(request.param), "--", *launcher, script)
    assert ended.returncode == 0, ended.stderr
    seen = next(line for line in ended.stderr.splitlines() if line.startswith('{"ranks"'))
    return request.param, ended.report, json.loads(seen)


def test_only_this_rank_ran_on_its_own_card(outcome):
    rank, report, seen = outcome
    assert (report["rank"], report["world_size"]) == (rank, WORLD)
    assert [gpu["index"] for gpu in report["gpus"] if gpu["device_peak_bytes"]] == [rank]
    assert seen["ranks"]["rank"] == rank
    assert seen["ranks"]["cards"] == WORLD
    (used,) = (gpu for gpu in report["gpus"] if gpu["device_peak_bytes"])
    assert used["at_peak"]["parts_bytes"]["outside PyTorch"] > 0  # NCCL's communicators
    assert seen["ranks"]["samples"] == list(range(rank, 24, WORLD))  # as DistributedSampler splits them


def test_collectives_on_the_host_mirror_this_rank(outcome):
    rank, _, seen = outcome
    found = seen["host_collectives"]
    assert found["sum"] == [2.0 * WORLD, 3.0 * WORLD]
    assert found["max"] == [2.0, 3.0]
    assert found["gathered"] == [[2.0, 3.0]] * WORLD
    assert found["exchanged"] == [rank] * WORLD
    assert found["single"] == [2.0, 3.0] * WORLD
    assert found["scattered"] == rank * WORLD
    assert found["half"] == WORLD // 2


def test_objects_and_the_store(outcome):
    rank, report, seen = outcome
    found = seen["objects"]
    assert found["everyone"] == [{"rank": rank}] * WORLD
    assert found["store"] == ["here"] * WORLD
    if rank == 0:
        assert found["gathered"] == [["from", 0]] * WORLD
        assert found["scattered"] == ["part 0"]
    else:  # what only rank 0 knows is not known, and the report says so
        assert found["scattered"] == [None]
        assert any("scatters" in what for what in report["assumed"])


def test_ddp_holds_everything(outcome):
    found = outcome[2]["ddp"]
    assert found["parameters"] == WHOLE
    assert found["states"] == 2 * WHOLE
    # Parameters, gradients, their buckets, two states, and the step's temporary.
    assert found["peak"] >= 6 * WHOLE


@pytest.mark.parametrize("case", ["fsdp1", "fsdp2"])
def test_fsdp_holds_its_part_and_saves(outcome, case):
    rank, _, seen = outcome
    found = seen[case]
    assert found["parameters"] == WHOLE // WORLD
    assert found["states"] == 2 * WHOLE // WORLD
    assert found["saved"] == (WHOLE if rank == 0 else 0)


def test_tensor_parallel_and_a_mesh_of_two_dimensions(outcome):
    found = outcome[2]["tp"]
    row_biases = 4 * WIDTH * 4  # of the matrices that are split by rows: every rank has them whole
    assert found["parameters"] == (WHOLE - row_biases) // WORLD + row_biases
    assert found["states"] == 2 * found["parameters"]
    found = outcome[2]["mesh"]
    assert found["sizes"] == [WORLD // 2, 2]
    assert found["parameters"] == ((WHOLE - row_biases) // 2 + row_biases) // (WORLD // 2)


def test_every_rank_of_a_script_that_spawns_them(dryrun):
    script = str(machine.HERE / "scripts" / "spawned.py")
    ended = dryrun("--json", "--gpu", "2xrtx-3090", "--rank", "all", "--", sys.executable, script, "2")
    assert ended.returncode == 0, ended.stderr
    report = ended.report
    assert [run["rank"] for run in report["ranks"]] == [0, 1]
    assert [[gpu["index"] for gpu in run["gpus"] if gpu["device_peak_bytes"]] for run in report["ranks"]] == [[0], [1]]
    assert "rank 0 of 2 is done" in ended.stderr
    assert "rank 1 of 2 is done" in ended.stderr


@pytest.mark.sweep
def test_a_rank_that_there_is_not(dryrun):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    ended = dryrun("--json", "--gpu", "2xrtx-3090", "--rank", "2", "--", *launcher, "script.py")
    assert ended.returncode != 0
    assert "rank 2 was asked for, but there are 2" in ended.stderr


def test_what_is_no_rank(dryrun):
    ended = dryrun("--gpu", "2xrtx-3090", "--rank", "some", "--", "true", torch=False)
    assert ended.returncode == 2
    assert "'some' is no rank" in ended.stderr
