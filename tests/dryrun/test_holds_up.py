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


def run(tmp_path, *arguments, **options):
    return machine.run([machine.PYTHON, SCRIPT, *arguments], ["ampere"], tmp_path, **options)


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
        assert len(left) == 2 and left[0].startswith("alive.") and left[1].startswith("ledger."), left
    assert [path.name.split(".")[0] for path in (tmp_path / "killed").iterdir()] == ["alive"]
    pids = {str(process.pid) for process in [killed, *four]}
    new = set(os.listdir(SHARED_MEMORY)) - before
    assert not any(pid in name for name in new for pid in pids), new


def test_a_spawned_child_has_a_ledger_of_its_own(tmp_path):
    outcome = run(tmp_path, "spawn")
    assert outcome.result["child"] == outcome.result["peak"]
    assert len(outcome.ledgers) == 2


def test_threads(tmp_path):
    outcome = run(tmp_path, "threads")
    assert outcome.code == 0, outcome.err
    assert outcome.ledger["unmodelled"] == {}


def test_a_program_without_torch(tmp_path):
    """NVML and the driver through ctypes, and a program that touches neither."""
    script = (
        "import ctypes, json; cuda = ctypes.CDLL('libcuda.so.1'); assert cuda.cuInit(0) == 0\n"
        "n = ctypes.c_int(); cuda.cuDeviceGetCount(ctypes.byref(n)); p = ctypes.c_void_p()\n"
        "c = ctypes.c_void_p(); cuda.cuDevicePrimaryCtxRetain(ctypes.byref(c), 0); cuda.cuCtxSetCurrent(c)\n"
        "code = cuda.cuMemAlloc_v2(ctypes.byref(p), ctypes.c_size_t(64 << 20)); print(json.dumps([n.value, code]))"
    )
    outcome = machine.run([machine.PYTHON, "-c", script], ["ampere"], tmp_path)
    assert outcome.result == [1, 0]
    assert outcome.ledger["devices"][0]["peak_bytes"] == (400 + 64) << 20
    quiet = machine.run([machine.PYTHON, "-c", "print('\"nothing\"')"], ["ampere"], tmp_path)
    assert (quiet.result, quiet.ledgers) == ("nothing", [])
    assert json.dumps(quiet.err) == '""'
