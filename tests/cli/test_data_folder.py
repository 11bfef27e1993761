"""Data folders as they are met: one that cannot be written, and one whose files are changed under a run."""

import json
import os
import subprocess
import time

import pytest
from support import SMALLEST

SHORT_RUN = "--seq_len 32 --batch_size 2 --gradient_accumulation_steps 1 --sample_tokens 0".split()
NOBODY = 65534


def test_text_in_a_read_only_folder_is_encoded_into_the_output_folder(program, tmp_path):
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    out.mkdir()
    text = "".join(json.dumps({"text": f"document {i}"}) + "\n" for i in range(2000))
    (data / "train.jsonl").write_text(text)
    data.chmod(0o555)
    out.chmod(0o777)
    # Root writes every folder, so root runs this as somebody else.
    other = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    for parent in [tmp_path, *tmp_path.parents][:3] if other else []:
        parent.chmod(parent.stat().st_mode | 0o001)
    words = [program, "train", "--data_dir", data, "--out_dir", out, "--max_steps", "2", *SMALLEST, *SHORT_RUN]
    try:
        trained = subprocess.run([str(w) for w in words], capture_output=True, text=True, check=False, **other)
    except PermissionError:
        pytest.skip(f"{program} cannot be run by another user")
    finally:
        data.chmod(0o755)
    assert trained.returncode == 0, trained.stderr
    assert not (data / ".vramwise").exists()
    assert [path.name.split("-")[0] for path in (out / "tokens").glob("*.bin")] == ["tokens"]
    # The trainer took what the planning process had encoded.
    assert (out / "step-000002").exists()


def test_a_token_file_cut_short_during_a_run(program, tmp_path):
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    for name in ("train.bin", "val.bin"):
        (data / name).write_bytes(b"".join((i * 37 % 250).to_bytes(2, "little") for i in range(50_000)))
    words = [program, "train", "--data_dir", data, "--out_dir", out, "--max_steps", "1000000", *SMALLEST, *SHORT_RUN]
    with subprocess.Popen([str(w) for w in words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        try:
            deadline = time.monotonic() + 120
            while not (out / "metrics.jsonl").exists() or (out / "metrics.jsonl").stat().st_size == 0:
                assert run.poll() is None, run.stderr.read()
                assert time.monotonic() < deadline
                time.sleep(0.1)
            os.truncate(data / "train.bin", 1000)
            _, talk = run.communicate(timeout=120)
        finally:
            run.kill()
    assert run.returncode == 4, talk
    assert "train.bin was cut short while it was in use" in talk
