"""`vramwise dryrun` from outside: what it prints, and how it ends."""

import concurrent.futures
import json
import pathlib
import signal
import subprocess
import sys
import time

import machine
import pytest

MIB = 1 << 20
SCRIPT = str(machine.HERE / "scripts" / "loaders.py")
DRIVER_ONLY = [sys.executable, machine.HERE / "scripts" / "driver_only.py"]


def interruptible():
    """What starts in the background of a shell without job control ignores Ctrl-C, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.sweep
def test_a_script_that_fits(dryrun, writes):
    outcome = dryrun("--json", "--gpu", "rtx-3090", "--steps", "2", *writes, "--", sys.executable, SCRIPT)
    assert outcome.returncode == 0, outcome.stderr
    result = outcome.report
    assert result["verdict"] == "fits"
    # Two epochs of two steps of two batches, and two batches of evaluation: the script's own output is on stderr.
    assert "batches 8 evaluated 2" in outcome.stderr
    assert result["steps"] == 4
    assert result["loaders_ended_early"] == 3
    gpu = result["gpus"][0]
    parameters = (2048 * 8192 * 2 + 8192 + 2048) * 4
    assert gpu["allocated_peak"]["bytes"] >= 4 * parameters
    assert gpu["device_peak_bytes"] >= gpu["reserved_peak"]["bytes"] + gpu["context_bytes"]
    assert gpu["left_bytes"] == gpu["total_bytes"] - gpu["device_peak_bytes"]


def test_a_program_that_does_not_fit(dryrun, writes):
    outcome = dryrun("--gpu", "rtx-2060:0.6gb", *writes, "--", *DRIVER_ONLY, "--n", "7", torch=False)
    assert outcome.returncode == 3
    assert "It does not fit" in outcome.stdout
    assert "cuMemAlloc failed: 2" in outcome.stderr


def test_a_program_that_fails_by_itself(dryrun, writes):
    outcome = dryrun("--json", "--gpu", "rtx-3090", *writes, "--", *DRIVER_ONLY, "--exit", "7", torch=False)
    assert outcome.returncode == 7
    assert outcome.report["verdict"] == "script failed"


def test_nvidia_smi_shows_the_emulated_cards(dryrun, writes):
    query = "nvidia-smi --query-gpu=index,name,memory.total,memory.used,power.draw --format=csv,noheader"
    command = (
        f"nvidia-smi -L && {query} && {query},nounits -i 1 && nvidia-smi --query-gpu name --format csv; nvidia-smi"
    )
    outcome = dryrun("--gpu", "rtx-3090,rtx-2060:8gb", *writes, "--", "sh", "-c", command, torch=False)
    lines = outcome.stderr.splitlines()
    assert lines[0].startswith("GPU 0: NVIDIA GeForce RTX 3090 (UUID: GPU-")
    assert lines[1].startswith("GPU 1: NVIDIA GeForce RTX 2060 (UUID: GPU-")
    assert lines[2:8] == [
        "0, NVIDIA GeForce RTX 3090, 24576 MiB, 0 MiB, [N/A]",
        "1, NVIDIA GeForce RTX 2060, 8192 MiB, 0 MiB, [N/A]",
        "1, NVIDIA GeForce RTX 2060, 8192, 0, [N/A]",
        "name",
        "NVIDIA GeForce RTX 3090",
        "NVIDIA GeForce RTX 2060",
    ]
    assert "answers -L and --query-gpu only" in lines[8]


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--gpu", "rtx-3090", "--"], 2, "no command"),
        (["--gpu", "rtx-3090", "--allow-writes", "--", "true"], 5, ""),
        (["--gpu", "rtx-9999", "--allow-writes", "--", "true"], 2, "rtx-9999"),
        (["--gpu", "rtx-3090", "--allow-writes", "--", "/no/such/program"], 4, "/no/such/program"),
    ],
)
def test_how_it_ends_without_an_answer(dryrun, arguments, code, text):
    outcome = dryrun(*arguments, torch=False)
    assert outcome.returncode == code
    assert text in outcome.stderr


@pytest.fixture(scope="module")
def _overlays(dryrun, writes):
    if writes:
        outcome = dryrun("--gpu", "rtx-3090", "--", "true", torch=False)
        assert outcome.returncode == 2
        pytest.skip(outcome.stderr)


@pytest.mark.usefixtures("_overlays")
class TestNoHarm:
    def test_what_the_program_writes_is_thrown_away(self, dryrun, tmp_path):
        (tmp_path / "model.pt").write_text("good")
        command = "echo bad > model.pt && echo x > new && mkdir more && cat model.pt >&2"
        outcome = dryrun("--gpu", "rtx-3090", "--", "sh", "-c", command, cwd=tmp_path, torch=False)
        assert "bad" in outcome.stderr
        assert [p.name for p in tmp_path.iterdir()] == ["model.pt"]
        assert (tmp_path / "model.pt").read_text() == "good"

    def test_but_not_in_folders_that_keep_it(self, dryrun, tmp_path):
        for name in ("kept", "other"):
            (tmp_path / name).mkdir()
        command = ["sh", "-c", "echo x | tee kept/file other/file"]
        dryrun("--gpu", "rtx-3090", "--keep-writes", "kept", "--", *command, cwd=tmp_path, torch=False)
        assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")) == ["kept", "kept/file", "other"]

    def test_allow_writes(self, dryrun, tmp_path):
        dryrun("--gpu", "rtx-3090", "--allow-writes", "--", "touch", "new", cwd=tmp_path, torch=False)
        assert (tmp_path / "new").exists()


def processes_with(word):
    """Ids of the processes whose environment has `word`."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/environ"):
        try:
            if word.encode() in path.read_bytes():
                found.append(path.parent.name)
        except OSError:
            pass
    return found


def wait_until(holds, seconds=20):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("arguments", [[], ["--allow-writes"]])
@pytest.mark.parametrize("how", [None, signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.usefixtures("dryrun")
def test_nothing_is_left_behind(tmp_path, how, arguments):
    seconds = "0" if how is None else "100"
    program = "import subprocess, sys, time; subprocess.Popen(['setsid', 'sleep', '{0}']); time.sleep({0}); sys.exit(3)"
    command = [sys.executable, "-c", program.format(seconds)]
    marked = {**machine.without_torch(machine.own_environment()), "TMPDIR": str(tmp_path), "MARK": f"mark-{tmp_path}"}
    process = subprocess.Popen(
        [machine.program(), "dryrun", "--gpu", "rtx-3090", *arguments, "--", *command],
        env=marked,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=interruptible,
    )
    if how is not None:
        wait_until(lambda: len(processes_with(marked["MARK"])) == 4)  # we, the guard, Python and its sleep
        process.send_signal(how)
    code = process.wait(timeout=30)
    wait_until(lambda: not processes_with(marked["MARK"]) and not list(tmp_path.iterdir()))
    if b"--allow-writes" not in process.stderr.read():
        assert code == {None: 3, signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[how]


@pytest.mark.usefixtures("dryrun")
def test_runs_four_at_once_leave_nothing(writes, tmp_path):
    # tryouts/repeat makes a hundred.
    marked = {**machine.without_torch(machine.own_environment()), "TMPDIR": str(tmp_path), "MARK": f"mark-{tmp_path}"}
    command = [
        machine.program(),
        "dryrun",
        "--json",
        "--gpu",
        "rtx-3090",
        *writes,
        "--",
        "sh",
        "-c",
        "echo x > /tmp/x",
    ]
    mounts = pathlib.Path("/proc/self/mounts").read_text()
    shared = sorted(pathlib.Path("/dev/shm").iterdir())

    def run(_):
        done = subprocess.run(command, env=marked, capture_output=True, text=True, timeout=300, check=False)
        return done.returncode, json.loads(done.stdout)["verdict"]

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert set(pool.map(run, range(4))) == {(5, "no CUDA")}
    assert list(tmp_path.iterdir()) == []
    assert processes_with(marked["MARK"]) == []
    assert pathlib.Path("/proc/self/mounts").read_text() == mounts
    assert sorted(pathlib.Path("/dev/shm").iterdir()) == shared


@pytest.mark.parametrize(
    ("how", "code"), [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.sweep)]
)
@pytest.mark.usefixtures("dryrun")
def test_an_interrupted_loop_tells_what_ran(writes, tmp_path, how, code):
    """A loop without data loaders runs as long as it would; a signal ends it, and what ran is reported. Before it, an
    optimizer that calls a closure: what it keeps is its own, though forward and backward passes lie between."""
    script = tmp_path / "endless.py"
    script.write_text(
        "import torch\n"
        "model = torch.nn.Linear(1024, 1024, bias=False).cuda()\n"
        "batch = torch.zeros(64, 1024, device='cuda')\n"
        "x = torch.zeros(1 << 20, device='cuda', requires_grad=True)\n"
        "lbfgs = torch.optim.LBFGS(model.parameters(), max_iter=6)\n"
        "def closure():\n"
        "    lbfgs.zero_grad()\n"
        "    loss = model(batch).square().mean()\n"
        "    loss.backward()\n"
        "    return loss\n"
        "for _ in range(2):\n"
        "    lbfgs.step(closure)\n"
        "optimizer = torch.optim.SGD([x])\n"
        "while True:\n"
        "    x.sum().backward()\n"
        "    optimizer.step()\n"
        "    print('stepped', flush=True)\n"
    )
    process = subprocess.Popen(
        [machine.program(), "dryrun", "--json", "--gpu", "rtx-3090", *writes, "--", sys.executable, script],
        env=machine.own_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=interruptible,
    )
    assert any("stepped" in line for line in process.stderr)
    process.send_signal(how)
    out, _ = process.communicate(timeout=120)
    report = json.loads(out)
    assert process.returncode == report["script_exit"] == code
    assert report["verdict"] == "interrupted"
    assert report["steps"] >= 1
    gpu = report["gpus"][0]
    assert gpu["allocated_peak"]["bytes"] >= 8 << 20
    parts = gpu["at_peak"]["parts_bytes"]
    assert parts["weights"] == (4 + 4) << 20, "a tensor that is optimized, though of no module"
    assert parts["optimizer states"] >= 3 * 4 << 20
    assert parts["inputs"] == 0
