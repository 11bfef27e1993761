"""The planner's questions through the command line: search, comparison, saved plans, what would fit instead."""

import json

import pytest

ONE_STEP = "--max_steps 1 --eval_every 0 --eval_batches 1 --save_every 0 --sample_tokens 1".split()


def plan_json(vramwise, *arguments):
    ended = vramwise("plan", "--json", *arguments)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_the_fastest_is_no_slower_and_keeps_the_training(vramwise):
    flags = ("--model_size", "large", "--gpu", "rtx-3060-12gb")
    guide = plan_json(vramwise, *flags)
    fastest = plan_json(vramwise, *flags, "--strategy", "fastest")
    assert fastest["strategy"] == "fastest"
    for key in ("effective_batch_size", "max_seq_len", "precision"):
        assert fastest["configuration"][key] == guide["configuration"][key]
    assert fastest["time"]["tokens_per_s"] >= guide["time"]["tokens_per_s"] > 0
    assert fastest["time"]["is_known"] and fastest["runner_ups"]
    for card in fastest["cards"]:
        assert card["peak"]["device_bytes"] <= card["usable_bytes"]
    gain = fastest["time"]["tokens_per_s"] / guide["time"]["tokens_per_s"]
    assert f"{gain:.2f} times as fast" in guide["gain_of_fastest"]


def test_the_guide_block_is_the_same_with_and_without_the_line(vramwise):
    text = vramwise("plan", "--model_size", "medium", "--gpu", "rtx-3090").stdout
    lines = [line for line in text.splitlines() if line.startswith("--strategy fastest: ")]
    assert len(lines) == 1
    assert "\033" not in text


def test_two_unequal_cards_show_both_readings(vramwise):
    flags = "--model_size large --gpu rtx-3090,rtx-3080-10gb --strategy fastest".split()
    text = vramwise("plan", *flags).stdout
    assert "Shares of the cards, each within its own memory" in text and "of usable" in text
    cards = plan_json(vramwise, *flags)["cards"]
    assert (
        sum(card["sequences"] for card in cards) == plan_json(vramwise, *flags)["configuration"]["effective_batch_size"]
    )


def test_a_card_without_a_name_gets_an_order_and_no_speed(vramwise):
    text = vramwise("plan", "--model_size", "medium", "--gpu", "24gb", "--strategy", "fastest").stdout
    assert "Speed: not predicted" in text and "tokens/s" not in text


def test_a_calibration_takes_the_place_of_the_catalogue(vramwise, tmp_path):
    file = tmp_path / "rates.json"
    file.write_text(json.dumps({"schema": "vramwise.calibration", "matmul_16bit_tflop_s": 10, "bandwidth_gb_s": 100}))
    flags = ("--model_size", "medium", "--gpu", "rtx-3090")
    slow = plan_json(vramwise, *flags, "--calibration", file)
    assert slow["time"]["rates_from"] == "the calibration file"
    assert slow["time"]["tokens_per_s"] < plan_json(vramwise, *flags)["time"]["tokens_per_s"] / 2
    file.write_text("{}")
    assert vramwise("plan", *flags, "--calibration", file).returncode != 0


def test_cards_are_compared(vramwise):
    ended = vramwise(
        "plan", "--model_size", "large", "--compare", "rtx-2060,rtx-4090,a100-40gb-sxm,2xrtx-3090", "--json"
    )
    assert ended.returncode == 0, ended.stderr
    answer = json.loads(ended.stdout)
    rows = {row["cards"]: row for row in answer["rows"]}
    for row in rows.values():  # speeds of unlike trainings could not be compared
        for key, of_all in (("max_seq_len", "seq_len"), ("effective_batch_size", "effective_batch_size")):
            assert not row["fits"] or row["plan"]["configuration"][key] == answer[of_all]
    assert list(rows) == ["rtx-2060", "rtx-4090", "a100-40gb-sxm", "2xrtx-3090"]
    assert len(rows["2xrtx-3090"]["plan"]["cards"]) == 2
    speeds = {name: row["plan"]["time"]["tokens_per_s"] for name, row in rows.items() if row["fits"]}
    assert speeds["a100-40gb-sxm"] > speeds["rtx-4090"]
    assert "a100-40gb-sxm" in vramwise("plan", "--model_size", "large", "--compare", "rtx-2060,a100-40gb-sxm").stdout


def test_a_card_is_recommended(vramwise, tmp_path):
    flags = "--model_size large --batch_size 8 --seq_len 2048 --gradient_checkpointing none --recommend".split()
    rows = json.loads(vramwise("plan", *flags, "--json").stdout)["rows"]
    memory = [row["plan"]["cards"][0]["budget_bytes"] for row in rows]
    assert rows and all(row["fits"] for row in rows)
    assert memory[0] <= min(memory) * 1.1
    prices = tmp_path / "prices.json"
    prices.write_text(json.dumps({"h100-80gb-sxm": 2.0, "rtx-3090": 40.0, "a100-80gb-sxm": 1.5}))
    cheapest = json.loads(vramwise("plan", *flags, "--prices", prices, "--json").stdout)["rows"]
    costs = [row["price_per_million_tokens"] for row in cheapest]
    assert costs == sorted(costs) and cheapest[-1]["cards"] == "rtx-3090"
    prices.write_text(json.dumps({"no-such-card": 1}))
    assert vramwise("plan", *flags, "--prices", prices).returncode == 2


def test_what_does_not_fit_gets_single_changes_and_cards(vramwise):
    flags = "--model_size large --gpu rtx-2060 --batch_size 64 --gradient_checkpointing none --precision fp32".split()
    refused = vramwise("plan", *flags, "--strategy", "fastest", "--json")
    assert refused.returncode == 3
    answer = json.loads(refused.stdout)
    assert answer["fits"] is False and answer["message"] and answer["cards"]
    for change in answer["changes"]:
        assert isinstance(change["changes_training"], bool)
    text = vramwise("plan", *flags, "--strategy", "fastest")
    assert text.returncode == 3 and "Cards on which it fits as it is" in text.stderr


@pytest.mark.parametrize("strategy", ["guide", "fastest"])
def test_a_saved_plan_is_explained_and_trained(vramwise, corpus, tmp_path, strategy):
    file = tmp_path / "plan.json"
    shape = "--model_size tiny --n_layers 2 --seq_len 64 --gradient_accumulation_steps 2".split()
    made = vramwise("plan", *shape, "--strategy", strategy, "--save", file)
    assert made.returncode == 0, made.stderr
    saved = json.loads(file.read_text())
    told = vramwise("explain", file)
    assert told.returncode == 0 and f"strategy {strategy}" in told.stdout, told.stderr
    trained = vramwise(
        "train", "--plan", file, "--device", "cpu", "--data_dir", corpus, "--out_dir", tmp_path / "out", *ONE_STEP
    )
    assert trained.returncode == 0, trained.stderr
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["step"]["micro_batch"] == saved["configuration"]["batch_size"]
    assert run["step"]["loss_chunk_tokens"] == saved["configuration"]["loss_chunk_tokens"]
    assert run["replicas"][0]["sequences"] == saved["configuration"]["effective_batch_size"] == run["effective_batch"]
    both = vramwise("train", "--plan", file, "--seq_len", 32, "--data_dir", corpus, "--out_dir", tmp_path / "out")
    assert both.returncode == 2 and "--plan says" in both.stderr


def test_bad_words_are_refused(vramwise, tmp_path):
    assert vramwise("plan", "--strategy", "quickest").returncode == 2
    assert vramwise("plan", "--strategy", "fastest", "--allow", "lora").returncode == 2
    card = ("plan", "--model_size", "tiny", "--gpu", "rtx-3090")
    for flags in (("--allow", "seq_len"), ("--prices", "p.json"), ("--recommend", "--save", "x.json")):
        refused = vramwise(*card, *flags)  # rather than a flag that changes nothing
        assert refused.returncode == 2 and not refused.stdout
    assert vramwise("plan", "--compare", "rtx-3090", "--allow", "precision").returncode == 0
    assert vramwise("explain", tmp_path / "missing.json").returncode == 4
    damaged = tmp_path / "damaged.json"
    damaged.write_text('{"schema": "vramwise.plan", "schema_version": 1, "fits": true, "strategy": 3}')
    told = vramwise("explain", damaged)
    assert told.returncode == 4 and '"strategy" is not a text' in told.stderr and not told.stdout
    (tmp_path / "other.json").write_text("{}")
    assert vramwise("explain", tmp_path / "other.json").returncode == 2
    assert vramwise("plan", "--vram", "24", "--verify").returncode == 2
