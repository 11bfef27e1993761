"""train_background.sh: with a stand-in for train.py that does what its flags say, and once with the real one."""

import os
import pathlib
import re
import signal
import subprocess
import textwrap
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "train_background.sh"

STAND_IN = textwrap.dedent(
    """
    import signal, sys, time
    flags = dict(zip(sys.argv[1::2], sys.argv[2::2]))
    def save(number, frame):
        print("saving", flush=True)
        time.sleep(float(flags.get("--save_s", 0)))
        print("saved step-000007", flush=True)
        sys.exit(143)
    signal.signal(signal.SIGTERM, save)
    print("arguments:", sys.argv[1:], flush=True)
    print("SIGINT ignored:", signal.getsignal(signal.SIGINT) == signal.SIG_IGN, flush=True)
    print("stdin:", repr(sys.stdin.read()), flush=True)
    time.sleep(float(flags.get("--run_s", 60)))
    print("the end", file=sys.stderr, flush=True)
    sys.exit(int(flags.get("--code", 0)))
    """
)

# For runs that end at once: the script looks at them for so long, however busy the machine is.
PATIENT = {"VRAMWISE_WATCH_S": "60"}


class Background:
    """The script in a folder of its own, with the stand-in as train.py; ends what it started."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "stand_in.py").write_text(STAND_IN)
        self.environment = {**os.environ, "VRAMWISE_TRAIN_PY": str(folder / "stand_in.py"), "VRAMWISE_WATCH_S": "1"}

    def __call__(self, *arguments, timeout=60, **environment):
        return subprocess.run(
            [str(SCRIPT), *map(str, arguments)],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def start(self, *flags, out_dir="out"):
        """Starts the stand-in and waits until it handles SIGTERM: on a busy machine that takes a while."""
        started = self(*flags)
        assert started.returncode == 0, started.stderr
        self.wait_for(lambda: "stdin:" in self.log(out_dir))
        return started

    def wait_for(self, condition):
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, "nothing happened for a minute"
            time.sleep(0.05)

    def log(self, out_dir="out"):
        return (self.folder / out_dir / "train.log").read_text()

    def pid(self, out_dir="out"):
        return int((self.folder / out_dir / "train.pid").read_text().split()[0])

    def wait_until_over(self, out_dir="out"):
        self.wait_for((self.folder / out_dir / "train.exit").exists)

    def end_all(self):
        for record in self.folder.glob("*/train.pid"):
            self("--stop", "--out_dir", record.parent)


@pytest.fixture
def background(tmp_path):
    script = Background(tmp_path)
    yield script
    script.end_all()


def test_a_run_goes_on_by_itself_and_is_stopped_gracefully(background):
    started = background.start("--model_size", "tiny", "--note", "two words; $HOME")
    assert "Training in the background (process " in started.stdout
    assert "out/train.log" in started.stdout
    pid = background.pid()
    assert os.getsid(pid) != os.getsid(0), "a session of its own, so that the terminal's end does not reach it"

    status = background("--status")
    assert status.returncode == 0
    assert f"Running in out: process {pid}, for 00:0" in status.stdout

    stopped = background("--stop")
    assert stopped.returncode == 0, stopped.stderr
    assert "saved step-000007" in stopped.stdout
    assert "exit code 143: stopped on request" in stopped.stdout
    assert not pathlib.Path(f"/proc/{pid}").exists()

    log = background.log()
    assert "['--model_size', 'tiny', '--note', 'two words; $HOME']" in log
    assert r"train.py --model_size tiny --note two\ words\;\ \$HOME" in log
    assert "stdin: ''" in log
    assert "SIGINT ignored: False" in log


def test_it_outlives_the_shell_that_started_it(background):
    # As at a terminal that closes: the whole process group of the starter gets a hangup, whether or not these tests
    # themselves were started to ignore one (nohup).
    starter = subprocess.Popen(
        ["bash", "-c", f"{SCRIPT} --run_s 60; sleep 60"],
        cwd=background.folder,
        env=background.environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )
    assert "Training in the background" in starter.stdout.readline()
    os.killpg(starter.pid, signal.SIGHUP)
    starter.wait(timeout=10)
    assert background("--status").returncode == 0


@pytest.mark.parametrize("spelling", [["--out_dir", "my runs/a"], ["--out_dir=my runs/a"], ["--out-dir", "my runs/a"]])
def test_the_output_folder_is_understood_in_every_spelling(background, spelling):
    (background.folder / "my runs").mkdir()
    background.start(*spelling, out_dir="my runs/a")
    assert str(spelling) in background.log("my runs/a")
    assert background("--status").returncode == 1
    assert background("--status", *spelling).returncode == 0
    assert background("--stop", *spelling).returncode == 0


def test_a_second_run_in_the_same_folder_is_refused(background):
    background.start()
    second = background("--run_s", "1")
    assert second.returncode == 2
    assert f"A run is going on in out (process {background.pid()})" in second.stderr
    assert "--run_s" not in background.log()
    other = background("--out_dir", "other")
    assert other.returncode == 0, other.stderr


def test_of_two_simultaneous_starts_one_wins(background):
    environment = {**background.environment, "VRAMWISE_WATCH_S": "5"}  # the first is still at it when the last begins
    starts = [
        subprocess.Popen([str(SCRIPT)], cwd=background.folder, env=environment, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    codes = sorted(start.wait(timeout=30) for start in starts)
    assert codes == [0, 2, 2, 2]
    background.wait_for(lambda: "arguments:" in background.log())
    assert background.log().count("train.py ===") == 1


def test_a_run_in_a_terminal_is_respected(background):
    (background.folder / "out").mkdir()
    lock = background.folder / "out" / ".lock"
    lock.write_text("4711\n")
    with subprocess.Popen(["flock", str(lock), "sleep", "30"]) as holder:
        time.sleep(0.3)
        refused = background()
        holder.terminate()
    assert refused.returncode == 2
    assert "not started by this script" in refused.stderr
    assert "process 4711" in refused.stderr


@pytest.mark.parametrize(
    "record",
    [
        "999999999 1 {boot}",  # no such process
        "{own} 1 {boot}",  # the id belongs to another process by now
        "{own} {start} 00000000-0000-0000-0000-000000000000",  # before the last boot
        "",
        "half a rec",
    ],
)
def test_a_stale_record_does_not_stand_in_the_way(background, record):
    out = background.folder / "out"
    out.mkdir()
    start = pathlib.Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19]
    boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    (out / "train.pid").write_text(record.format(own=os.getpid(), start=start, boot=boot) + "\n")
    status = background("--status")
    assert status.returncode == 1
    assert "ended without a word" in status.stdout
    stopped = background("--stop")
    assert stopped.returncode == 0
    started = background()
    assert started.returncode == 0, started.stderr
    assert background("--status").returncode == 0


def test_the_record_of_the_running_process_is_what_the_script_itself_reads(background):
    # The counterpart of the stale ones: the test's own process, correctly recorded, counts as running.
    out = background.folder / "out"
    out.mkdir()
    sleeper = subprocess.Popen(["sleep", "60"])
    start = pathlib.Path(f"/proc/{sleeper.pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    (out / "train.pid").write_text(f"{sleeper.pid} {start} {boot}\n")
    assert background("--status").returncode == 0
    assert background().returncode == 2
    sleeper.kill()
    # Not waited for yet: a zombie is no running process.
    time.sleep(0.2)
    assert background("--status").returncode == 1
    sleeper.wait()


@pytest.mark.parametrize("code", [2, 3, 4, 70])
def test_a_run_that_dies_at_once_is_reported_with_its_code_and_last_lines(background, code):
    started = background("--run_s", "0", "--code", code, **PATIENT)
    assert started.returncode == code
    assert "the end" in started.stderr
    assert f"ended at once, with exit code {code}" in started.stderr
    assert "Training in the background" not in started.stdout
    assert f"exit code {code}" in background("--status").stdout


def test_the_last_lines_are_those_of_this_run(background):
    assert background("--run_s", "0", "--code", "0", "--mark", "first", **PATIENT).returncode == 0
    failed = background("--run_s", "0", "--code", "4", "--mark", "second", **PATIENT)
    assert "second" in failed.stderr
    assert "first" not in failed.stderr
    assert "first" in background.log(), "an earlier run's output is kept"


def test_a_run_that_finishes_at_once_is_no_failure(background):
    started = background("--run_s", "0", **PATIENT)
    assert started.returncode == 0
    assert "finished already" in started.stdout


def test_logs_follow_a_run_to_its_end_and_show_a_finished_one(background):
    background.start("--run_s", "3")
    followed = background("--logs")
    assert followed.returncode == 0
    assert "arguments:" in followed.stdout
    background.wait_until_over()
    finished = background("--logs")
    assert finished.returncode == 0
    assert "the end" in finished.stdout
    assert "exit code 0: finished" in finished.stdout


def test_stop_waits_for_the_save(background):
    background.start("--save_s", "2")
    begin = time.monotonic()
    stopped = background("--stop")
    assert time.monotonic() - begin >= 2
    assert "saved step-000007" in stopped.stdout


def test_stop_gives_up_on_a_run_that_does_not_end(background):
    background.start("--save_s", "8")
    stopped = background("--stop", VRAMWISE_STOP_S="1")
    assert stopped.returncode == 4
    assert f"kill -KILL {background.pid()}" in stopped.stderr
    background.wait_until_over()


def test_a_killed_run_is_told_as_such(background):
    background.start()
    os.kill(background.pid(), signal.SIGKILL)
    background.wait_until_over()
    status = background("--status")
    assert status.returncode == 1
    assert "exit code 137: killed" in status.stdout


def test_nothing_to_look_at(background):
    assert background("--status").returncode == 1
    assert "No run was started in out" in background("--status").stdout
    assert background("--stop").returncode == 0
    logs = background("--logs")
    assert logs.returncode == 4
    assert "no out/train.log" in logs.stderr
    assert not (background.folder / "out").exists(), "looking makes no folder"


def test_a_folder_that_cannot_be_made(background):
    (background.folder / "file").write_text("")
    started = background("--out_dir", "file/out")
    assert started.returncode == 4
    assert "file/out cannot be made" in started.stderr
    assert background("--out_dir").returncode == 2


def test_help_names_every_command(background):
    text = background("--help").stdout
    for word in ("--status", "--logs", "--stop", "--out_dir", "train.py --help"):
        assert word in text


def test_the_script_is_found_through_a_link(background):
    link = background.folder / "start"
    link.symlink_to(SCRIPT)
    environment = {name: value for name, value in background.environment.items() if name != "VRAMWISE_TRAIN_PY"}
    ended = subprocess.run(
        [str(link), "--no_such_flag"],
        cwd=background.folder,
        env={**environment, "VRAMWISE_BIN": "/bin/false", **PATIENT},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1, "train.py beside the script became /bin/false"


def test_a_real_run_trains_in_the_background(corpus, program, tmp_path):
    environment = {**os.environ, "VRAMWISE_BIN": str(program)}
    flags = "--model_size tiny --device cpu --max_steps 100000 --save_every 0 --out_dir run".split() + [
        "--data_dir",
        str(corpus),
    ]
    run = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True, "timeout": 300, "check": False}
    started = subprocess.run([str(SCRIPT), *flags], **run)
    assert started.returncode == 0, started.stdout + started.stderr
    metrics = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 200
    while not (metrics.exists() and metrics.stat().st_size > 0) and time.monotonic() < deadline:
        time.sleep(0.5)
    second = subprocess.run([str(SCRIPT), *flags], **run)
    assert second.returncode == 2
    stopped = subprocess.run([str(SCRIPT), "--stop", "--out_dir", "run"], **run)
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    assert "exit code 143" in stopped.stdout
    assert re.fullmatch(r"step-\d+", (tmp_path / "run" / "latest").read_text().strip())


def test_missing_data_is_told_at_once(program, tmp_path):
    ended = subprocess.run(
        [str(SCRIPT), "--data_dir", "nowhere", "--out_dir", "run"],
        cwd=tmp_path,
        env={**os.environ, "VRAMWISE_BIN": str(program), **PATIENT},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert ended.returncode == 4, ended.stderr
    assert "vramwise synth --out nowhere" in ended.stderr


def test_shellcheck_has_nothing_to_say():
    try:
        checked = subprocess.run(["shellcheck", str(SCRIPT)], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("shellcheck is not installed")
    assert checked.returncode == 0, checked.stdout
