"""Bad input ends with a message that says what, where and what to do, and with its documented exit code."""

import os
import stat
import subprocess

import dry_runs
import pytest
from support import SMALLEST

USAGE, DOES_NOT_FIT, WORLD = 2, 3, 4


def assert_refused(process, code, *expected):
    assert process.returncode == code, process.stdout + process.stderr
    for text in expected:
        assert text in process.stderr, process.stderr
    assert process.stdout == ""


@pytest.mark.parametrize(
    "value, expected",
    [
        ("abc", "is not an amount of memory"),
        ("", "is not an amount of memory"),
        ("0", "must be above 0"),
        ("-3", "must be above 0"),
        ("1e9", "more memory than any machine has"),
        ("nan", "is not an amount of memory"),
    ],
)
@pytest.mark.parametrize("command", ["plan", "train"])
def test_vram_that_is_no_amount(vramwise, command, value, expected):
    assert_refused(vramwise(command, "--vram", value), USAGE, "--vram", expected, "--vram 24")


def test_vram_and_vram_auto_together(vramwise):
    assert_refused(
        vramwise("plan", "--vram", "24", "--vram_auto"), USAGE, "--vram and --vram_auto contradict each other"
    )


def test_margin_above_the_budget(vramwise):
    assert_refused(
        vramwise("plan", "--vram", "8", "--vram_safety_margin", "9000"),
        USAGE,
        "9000 MB leaves nothing of 8.00 GB",
        "smaller --vram_safety_margin",
    )


def test_margin_that_is_no_number(vramwise):
    assert_refused(
        vramwise("plan", "--vram", "8", "--vram_safety_margin", "much"),
        USAGE,
        '--vram_safety_margin "much" is not a number of MB',
    )


@pytest.mark.parametrize(
    "flag, nearest",
    [("--vrma", "--vram"), ("--model_sise", "--model_size"), ("--vram-sefety-margin", "--vram_safety_margin")],
)
def test_unknown_flag_gets_a_suggestion(vramwise, flag, nearest):
    assert_refused(vramwise("plan", flag, "24"), USAGE, "unknown flag", f"Did you mean {nearest}?")


def test_unknown_command_gets_a_suggestion(vramwise):
    assert_refused(vramwise("trian"), USAGE, 'unknown command "trian"', 'Did you mean "train"?')


def test_no_command(vramwise):
    assert_refused(vramwise(), USAGE, "no command was given", "detect", "plan", "train")


def test_unknown_model_size(vramwise):
    assert_refused(
        vramwise("plan", "--vram", "24", "--model_size", "huge"),
        USAGE,
        'unknown model size "huge"',
        "tiny, small, medium, large",
    )


def test_unknown_card_gets_a_suggestion(vramwise):
    assert_refused(vramwise("plan", "--gpu", "rtx-4900"), USAGE, "rtx-4900", "rtx-4090")


def test_dimensions_that_cannot_be(vramwise):
    assert_refused(
        vramwise("plan", "--vram", "24", "--n_kv_heads", "3"), USAGE, "n_kv_heads 3 does not divide n_heads 16"
    )
    assert_refused(vramwise("plan", "--vram", "24", "--batch_size", "0"), USAGE, "--batch_size 0")


def test_a_model_that_does_not_fit_says_how_much_is_missing(vramwise):
    assert_refused(
        vramwise("plan", "--vram", "2", "--model_size", "large", "--cpu_offload", "off"),
        DOES_NOT_FIT,
        "does not fit",
        "more than the",
        "--model_size",
    )


def test_a_preset_that_does_not_fit_says_what_would(vramwise):
    refused = vramwise("plan", "--vram", "24gb", "--model_size", "large", "--vram_safety_margin", "18000")
    assert_refused(refused, DOES_NOT_FIT, "the preset's row as it stands does not fit", "With --vram 24")


def test_auto_without_a_gpu_says_so_and_plans_for_the_cpu(vramwise):
    planned = vramwise("plan", "--vram_auto", env={"CUDA_VISIBLE_DEVICES": ""})
    assert planned.returncode == 0, planned.stderr
    assert "Detected GPUs: 0\n  CPU: " in planned.stdout
    assert "No GPU was found" in planned.stdout


def test_missing_data_names_the_command_that_makes_some(vramwise, tmp_path):
    assert_refused(
        vramwise("train", "--data_dir", tmp_path / "none", cwd=tmp_path),
        WORLD,
        "none",
        f"vramwise synth --out {tmp_path / 'none'}",
    )


def test_empty_broken_and_short_data(vramwise, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert vramwise("train", "--data_dir", empty, cwd=tmp_path).returncode == WORLD
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "train.jsonl").write_text('{"text": "fine"}\n{"text": \n')
    assert_refused(vramwise("train", "--data_dir", broken, cwd=tmp_path), WORLD, "train.jsonl:2")
    short = tmp_path / "short"
    short.mkdir()
    (short / "train.txt").write_text("too short")
    assert vramwise("train", "--data_dir", short, cwd=tmp_path).returncode == WORLD


def test_a_token_beyond_the_vocabulary(vramwise, tmp_path):
    folder = tmp_path / "tokens"
    folder.mkdir()
    ordinary = b"".join((i * 37 % 250).to_bytes(2, "little") for i in range(8000))
    tokens = ordinary + (500).to_bytes(2, "little") + ordinary
    for name in ("train.bin", "val.bin"):
        (folder / name).write_bytes(tokens)
    refused = vramwise("train", "--data_dir", folder, "--vocab_size", "256", *SMALLEST, cwd=tmp_path)
    assert_refused(refused, WORLD, "500", "train.bin")


def test_unreadable_data(program, tmp_path):
    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(0)
    # Root reads every folder, so root runs this as somebody else, from a folder that anybody can enter.
    nobody = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
    for parent in [tmp_path, *tmp_path.parents][:3] if nobody else []:
        parent.chmod(parent.stat().st_mode | stat.S_IXOTH)
    try:
        words = [str(program), "train", "--data_dir", str(folder)]
        refused = subprocess.run(words, cwd="/", capture_output=True, text=True, check=False, **nobody)
    except PermissionError:
        pytest.skip(f"{program} cannot be run by another user")
    finally:
        folder.chmod(stat.S_IRWXU)
    assert_refused(refused, WORLD, "closed", "Permission denied")


def test_an_output_folder_that_cannot_be(vramwise, corpus, tmp_path):
    (tmp_path / "file").write_text("in the way")
    refused = vramwise("train", "--data_dir", corpus, "--out_dir", tmp_path / "file", "--max_steps", 1, *SMALLEST)
    assert refused.returncode == WORLD
    assert "file" in refused.stderr


def test_resume_without_a_run(vramwise, corpus, tmp_path):
    refused = vramwise("train", "--data_dir", corpus, "--out_dir", tmp_path / "new", "--resume", *SMALLEST)
    assert refused.returncode == WORLD
    assert "new" in refused.stderr and "resume" in refused.stderr


def test_a_result_that_cannot_be_written_is_no_success(program):
    command = [str(program), "plan", "--vram", "24"]
    with open("/dev/full", "w") as full:
        process = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert process.returncode == WORLD
    assert "cannot be written" in process.stderr


def test_an_empty_card_is_no_card(vramwise):
    assert_refused(vramwise("plan", "--gpu", ""), USAGE, "--gpu: no card is named")


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["dryrun", "--", "true"], "--gpu is required"),
        (["dryrun", "--gpu", "rtx-3090", "--steps", "0", "--", "true"], "--steps: Value 0 not in range"),
        (["plan", "--batch_size", "many"], '--batch_size: "many" is not a number'),
        (["plan", "--vram"], "--vram needs a value"),
    ],
)
def test_what_is_wrong_is_named(vramwise, arguments, expected):
    assert_refused(vramwise(*arguments, env={"PYTHONPATH": str(dry_runs.WITHOUT_TORCH)}), USAGE, expected)


def test_the_last_of_two_values_holds(vramwise):
    assert "Target VRAM: 24.00 GB" in vramwise("plan", "--vram", "8", "--vram", "24").stdout


def test_more_than_the_named_card_has_is_planned_for_what_it_has(vramwise):
    planned = vramwise("plan", "--gpu", "rtx-3090", "--vram", "30")
    assert planned.returncode == 0
    assert "Note: 30.00 GB were asked for, but CUDA gives 23.56 GB on NVIDIA GeForce RTX 3090" in planned.stdout


def test_the_catalogue_is_listed(vramwise):
    shown = vramwise("gpus", "RTX", "3090")
    assert [line.split()[0] for line in shown.stdout.splitlines()[1:-1]] == ["rtx-3090", "rtx-3090-ti"]
    assert_refused(vramwise("gpus", "voodoo"), USAGE, 'has "voodoo" in its name')
