"""Several runs at once, killed ones, children, threads, and programs without torch."""

import json
import os
import pathlib
import signal
import subprocess

import machine
import pytest

SHARED_MEMORY = pathlib.Path("/dev/shm")
SCRIPT = str(machine.HERE / "scripts" / "short.py")


def start(folder, *arguments):
    """A run that is not waited for, with a folder of its own for whatever it may leave."""
    folder.mkdir()
    environment = machine.environment(["ampere"], folder) | {"TMPDIR": str(folder)}
    command = [machine.PYTHON, SCRIPT, *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.sweep
def test_four_at_once_and_a_killed_one_leave_nothing(tmp_path):
    before = set(os.listdir(SHARED_MEMORY))
    killed = start(tmp_path / "killed", "wait")
    four = [start(tmp_path / f"run{i}") for i in range(4)]
    results = [process.communicate(timeout=600) for process in four]
    assert [process.returncode for process in four] == [0] * 4, results
    assert len({out for out, _ in results}) == 1, "the same in each"
    assert killed.stdout.readline()
    killed.send_signal(signal.SIGKILL)
    killed.wait(60)
    killed.stdout.close()
    killed.stderr.close()
    for i in range(4):
        left = sorted(path.name for path in (tmp_path / f"run{i}").iterdir())
        assert [name.split(".")[0] for name in left] == ["alive", "cards", "ledger"], left
    assert sorted(path.name.split(".")[0] for path in (tmp_path / "killed").iterdir()) == ["alive", "cards"]
    pids = {str(process.pid) for process in [killed, *four]}
    new = set(os.listdir(SHARED_MEMORY)) - before
    assert not any(pid in name for name in new for pid in pids), new


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    """A program with children and threads that ended while a thread was inside Python: it must not abort."""
    return machine.run("processes.py", ["ampere"], tmp_path_factory.mktemp("processes"))


def test_children_stay_inert_and_a_fork_is_refused(processes):
    assert processes.result["quiet"] == ["child\n", ""]
    assert "Cannot re-initialize CUDA in forked subprocess" in processes.result["forked"]


def test_children_that_use_the_card_have_ledgers_of_their_own(processes):
    """One is spawned; one is forked, before its parent uses CUDA, and ends without exit handlers."""
    assert processes.result["child"] == processes.result["forked before"] == processes.result["peak"]
    assert len(processes.ledgers) == 3
    assert all(ledger["unmodelled"] == {} for ledger in processes.ledgers)


def test_processes_see_each_others_memory(processes):
    (before, reserved), (together, reserved_by_child) = processes.result["before"], processes.result["together"]
    context = 400 << 20
    assert before == reserved + context
    assert together == before + reserved_by_child + context
    assert processes.result["after"] == [before, reserved], "what the child had is free again"
    most = max(ledger["devices"][0]["together_peak_bytes"] for ledger in processes.ledgers)
    assert most >= together


def test_a_program_without_torch(tmp_path):
    """The driver through ctypes, and a program that does not touch it."""
    command = [machine.PYTHON, str(machine.HERE / "scripts" / "driver_only.py")]
    outcome = machine.run(command, ["ampere"], tmp_path, torch=False)
    assert outcome.result == {"cards": 1}
    assert outcome.ledger["devices"][0]["peak_bytes"] == (400 + 100) << 20
    quiet = machine.run([machine.PYTHON, "-c", "print('\"nothing\"')"], ["ampere"], tmp_path, torch=False)
    assert (quiet.result, quiet.ledgers) == ("nothing", [])
    assert json.dumps(quiet.err) == '""'


@pytest.mark.sweep
def test_forked_training_is_reported_as_any_other(dryrun, writes, tmp_path):
    script = tmp_path / "forks.py"
    script.write_text(
        "import multiprocessing, os, torch\n"
        "def train():\n"
        "    model = torch.nn.Linear(1024, 1024, bias=False).cuda()\n"
        "    optimizer = torch.optim.Adam(model.parameters())\n"
        "    for _ in range(3):\n"
        "        model(torch.zeros(64, 1024, device='cuda')).sum().backward()\n"
        "        optimizer.step()\n"
        "process = multiprocessing.get_context('fork').Process(target=train)\n"
        "process.start()\n"
        "process.join()\n"
        "os._exit(0)\n"
    )
    outcome = dryrun("--json", "--gpu", "rtx-3090", *writes, "--", machine.PYTHON, script)
    assert outcome.returncode == 0, outcome.stderr
    assert (outcome.report["verdict"], outcome.report["steps"]) == ("fits", 3)
    gpu = outcome.report["gpus"][0]
    assert [phase["name"] for phase in gpu["phases"]] == ["load", "forward", "backward", "optimizer step"]
    assert gpu["at_peak"]["parts_bytes"]["optimizer states"] == 2 * 4 << 20


def test_what_the_report_is_blind_to_is_told(dryrun, writes):
    """Python that looks at no PYTHONPATH, and a child that is not on the emulated cards."""
    command = [machine.PYTHON, "-I", machine.HERE / "scripts" / "isolated.py"]
    outcome = dryrun("--json", "--gpu", "rtx-3090", "--steps", "1", *writes, "--", *command)
    assert outcome.returncode == 0, outcome.stderr
    assert "batches 8 child" in outcome.stderr, "the loader ran to its end"
    report = outcome.report
    assert report["verdict"] == "fits"
    assert report["gpus"][0]["device_peak_bytes"] > report["gpus"][0]["context_bytes"] > 0
    assert report["gpus"][0]["allocated_peak"] is None
    isolated, outside = report["notes"]
    assert isolated.startswith("of a process with PyTorch only the device memory was measured")
    assert outside.startswith("a process with PyTorch ran beside the emulated cards")
