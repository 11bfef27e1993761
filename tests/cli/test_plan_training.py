"""Plans for other trainers than ours, through the command line."""

import json
import re

import pytest
from support import ROOT

LLAMA = {
    "model_type": "llama",
    "vocab_size": 32000,
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 22,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "max_position_embeddings": 2048,
    "torch_dtype": "bfloat16",
}


@pytest.fixture
def model(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    return tmp_path


@pytest.fixture
def llama3(tmp_path):
    (tmp_path / "llama3").mkdir()
    (tmp_path / "llama3" / "config.json").write_text(json.dumps({**LLAMA, "vocab_size": 128256}))
    return tmp_path / "llama3"


def plan_json(vramwise, *flags):
    ended = vramwise("plan", *flags, "--json")
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def estimate_flags(plan):
    """The plan's configuration in the words of `vramwise estimate`."""
    chosen = plan["configuration"]
    optimizers = {"fused": "adamw-fused", "foreach": "adamw", "for-loop": "adamw-loop"}
    flags = ["--batch_size", chosen["micro_batch"], "--gradient_accumulation_steps", chosen["accumulation"]]
    flags += ["--seq_len", chosen["seq_len"], "--optimizer", optimizers[chosen["optimizer"]]]
    flags += ["--attention", chosen["attention"], "--loss", chosen["loss"], "--precision", chosen["precision"]]
    selective = chosen["recomputed"] == "selective" and chosen["checkpointing"]
    flags += ["--gradient_checkpointing", "selective" if selective else chosen["checkpointing"] or "none"]
    flags += ["--no_use_cache"]
    flags += ["--expandable_segments"] if chosen["segments"] == "expandable" else []
    shared = chosen.get("sharing", "").split(", ")
    if shared[0].startswith("deepspeed"):
        return flags
    flags += ["--parallel", {"fsdp2": "fsdp"}.get(shared[0], shared[0])] if shared[0] else []
    flags += ["--offload", "cpu"] if "on the host" in shared else []
    flags += ["--gradient_as_bucket_view"] if "bucket views" in shared else []
    flags += ["--no_reshard_after_forward"] if "kept after forward" in shared else []
    return flags


@pytest.mark.parametrize(
    ("trainer", "cards"), [("transformers", "rtx-3090"), ("accelerate", "2xrtx-4090"), ("fsdp2", "4xrtx-4090")]
)
def test_what_a_plan_takes_is_what_its_estimate_says(vramwise, model, trainer, cards):
    flags = ["--model", model, "--seq_len", 2048, "--gpu", cards]
    plan = plan_json(vramwise, *flags, "--for", trainer, "--effective_batch", 16)
    chosen = plan["configuration"]
    assert chosen["micro_batch"] * chosen["accumulation"] * plan["cards"] == 16
    assert plan["device_bytes"] <= plan["usable_bytes"] and plan["tokens_per_s"] > 0
    if chosen["recomputed"] != "selective" or chosen["checkpointing"] == "all":
        told = vramwise("estimate", "--model", model, "--gpu", cards, *estimate_flags(plan), "--json")
        assert json.loads(told.stdout)["device_bytes"] == plan["device_bytes"], told.stderr
    memory = [plan["device_bytes"], *(row["device_bytes"] for row in plan["runner_ups"])]
    speed = [plan["tokens_per_s"], *(row["tokens_per_s"] for row in plan["runner_ups"])]
    assert memory == sorted(memory, reverse=True) and speed == sorted(speed, reverse=True)
    program = next(document["text"] for document in plan["documents"] if document["name"] == "train.py")
    compile(program, "train.py", "exec")


@pytest.mark.parametrize("cards", ["a100-80gb", "2xrtx-4090", "8xrtx-4090"])
def test_deepspeed_gets_a_file_that_says_what_was_planned(vramwise, model, cards):
    """The plan's ds_config.json, handed back to `estimate`, tells the plan's memory."""
    flags = ("--model", model, "--seq_len", 1024, "--gpu", cards)
    plan = plan_json(vramwise, *flags, "--for", "deepspeed", "--effective_batch", 16)
    documents = {document["name"]: document["text"] for document in plan["documents"]}
    compile(documents["train.py"], "train.py", "exec")
    assert f"deepspeed --num_gpus {plan['cards']} train.py" in documents["command"]
    (model / "ds_config.json").write_text(documents["ds_config.json"])
    chosen = plan["configuration"]
    assert chosen["sharing"] == f"deepspeed zero{json.loads(documents['ds_config.json'])['zero_optimization']['stage']}"
    assert chosen["micro_batch"] * chosen["accumulation"] * plan["cards"] == 16
    if chosen["recomputed"] != "selective" or chosen["checkpointing"] == "all":
        told = vramwise("estimate", *flags, *estimate_flags(plan), "--deepspeed", model / "ds_config.json", "--json")
        estimate = json.loads(told.stdout)
        assert estimate["device_bytes"] == plan["device_bytes"] <= plan["usable_bytes"], told.stderr


def test_deepspeed_scales_float16_by_itself(vramwise, model):
    (model / "config.json").write_text(json.dumps(LLAMA | {"torch_dtype": "float16"}))
    plan = plan_json(vramwise, "--model", model, "--for", "deepspeed", "--gpu", "4xrtx-4090")
    assert plan["configuration"]["precision"] == "fp16" and not plan["notes"]
    assert "dtype=torch.float16" in program_of(plan) and "fp16=True" in program_of(plan)


def test_a_saved_plan_is_explained_as_it_was_told(vramwise, model, tmp_path):
    file = tmp_path / "plan.json"
    flags = ("--model", model, "--for", "transformers", "--gpu", "rtx-3090")
    told = vramwise("plan", *flags, "--save", file)
    assert told.returncode == 0, told.stderr
    assert "TrainingArguments(" in told.stdout and "Runner-ups" in told.stdout
    assert vramwise("explain", file).stdout == told.stdout
    sharded = vramwise("plan", "--model", model, "--for", "deepspeed", "--gpu", "4xrtx-3090", "--save", file)
    assert "--- ds_config.json" in sharded.stdout
    assert vramwise("explain", file).stdout == sharded.stdout


def test_what_does_not_fit_gets_single_changes_and_cards(vramwise, model):
    flags = ("--model", model, "--for", "transformers", "--gpu", "rtx-2060")
    ended = vramwise("plan", *flags, "--json")
    assert ended.returncode == 3
    answer = json.loads(ended.stdout)
    assert not answer["fits"] and answer["fitting_cards"]
    changes = {change["change"]: change for change in answer["changes"]}
    assert changes["--allow lora"]["changes_objective"]
    assert vramwise("plan", *flags, "--allow", "lora").returncode == 0
    assert vramwise("plan", *flags[:-1], answer["fitting_cards"][0]).returncode == 0


def test_what_nothing_makes_fit_says_so(vramwise):
    ended = vramwise("plan", "--model", "meta-llama/Llama-3.1-70B", "--for", "transformers", "--gpu", "rtx-3090")
    assert ended.returncode == 3
    assert "No single change makes it fit, nor any other card" in ended.stderr


def test_what_does_not_fit_under_deepspeed_fits_more_cards(vramwise, model):
    flags = ("--model", model, "--for", "deepspeed", "--effective_batch", 16)
    ended = vramwise("plan", *flags, "--gpu", "2x12gb", "--json")
    assert ended.returncode == 3
    answer = json.loads(ended.stdout)
    changes = {change["change"]: change for change in answer["changes"]}
    assert "4 such cards" in changes or "8 such cards" in changes, changes
    assert answer["fitting_cards"]
    fsdp2 = vramwise("plan", "--model", model, "--for", "fsdp2", "--effective_batch", 16, "--gpu", "2x12gb")
    assert (fsdp2.returncode == 0) == ("--for fsdp2" in changes), fsdp2.stderr


def test_one_card_that_does_not_suffice_gets_more_of_them(vramwise, model):
    flags = ("--model", model, "--for", "deepspeed", "--json", "--gpu")
    answer = json.loads(vramwise("plan", *flags, "12gb").stdout)
    more = [int(each["change"].split()[0]) for each in answer["changes"] if each["change"].endswith(" such cards")]
    assert more and vramwise("plan", *flags, f"{more[0]}x12gb").returncode == 0


def test_weights_are_shared_out_where_nothing_else_fits(vramwise, model):
    """ZeRO-3 is there for the models that `estimate` knows it for, and others are planned without."""
    flags = ("plan", "--for", "deepspeed", "--effective_batch", 16, "--fix", "sharing=deepspeed zero3")
    plan = json.loads(vramwise(*flags, "--model", model, "--gpu", "4x16gb", "--json").stdout)
    assert plan["configuration"]["sharing"] == "deepspeed zero3"
    zero = json.loads(plan["documents"][1]["text"])["zero_optimization"]
    assert zero["stage"] == 3 and zero["stage3_gather_16bit_weights_on_model_save"]
    assert program_of(plan).index("TrainingArguments(") < program_of(plan).index("from_pretrained(")
    unknown = ("--model", "facebook/opt-125m", "--gpu", "4x24gb")
    assert vramwise(*flags, *unknown).returncode == 5
    assert vramwise("plan", "--for", "deepspeed", *unknown).returncode == 0


def test_a_recipe_of_torchtune_has_the_plans_knobs(vramwise, llama3):
    flags = ("--model", llama3, "--for", "torchtune", "--gpu", "rtx-3090", "--effective_batch", 8)
    plan = plan_json(vramwise, *flags, "--gradient_checkpointing", "all", "--fix", "loss=chunked", "--batch_size", 2)
    documents = {document["name"]: document["text"] for document in plan["documents"]}
    recipe = documents["recipe.yaml"]
    for line in ("batch_size: 2", "gradient_accumulation_steps: 4", "enable_activation_checkpointing: True"):
        assert line in recipe.splitlines()
    assert "CEWithChunkedOutputLoss" in recipe and "torchtune.models.llama3.llama3," in recipe
    assert "tune run full_finetune_single_device --config recipe.yaml" in documents["command"]
    # What the file leaves out is what transformers takes for it.
    assert "norm_eps: 1.00e-06, rope_base: 10000}" in recipe and "# add" not in recipe
    assert "max_seq_len: 1024}  # takes original/tokenizer.model of the checkpoint's folder" in recipe


def test_a_recipe_of_torchtune_says_what_the_catalogue_does_not(vramwise):
    plan = plan_json(vramwise, "--model", "Qwen/Qwen2.5-0.5B", "--for", "torchtune", "--gpu", "rtx-3090")
    recipe = next(document["text"] for document in plan["documents"] if document["name"] == "recipe.yaml")
    assert "# add of its config.json: rope_base (rope_theta there, else 10000), norm_eps (" in recipe
    assert "# takes vocab.json and merges.txt of the checkpoint's folder" in recipe


def test_what_torchtune_does_not_make_is_refused(vramwise, model, llama3):
    flags = ("plan", "--for", "torchtune", "--gpu")
    several = vramwise(*flags, "2xrtx-3090", "--model", llama3)
    assert several.returncode == 5 and "full_finetune_single_device" in several.stderr
    for older in (model, "TinyLlama/TinyLlama-1.1B-Chat-v1.0"):
        refused = vramwise(*flags, "rtx-3090", "--model", older)
        assert refused.returncode == 5 and "vocabulary of 32000 tokens" in refused.stderr
    for more, code, words in [
        (("--gradient_checkpointing", "2"), 5, "checkpointing of llama"),
        (("--precision", "bf16-mixed"), 2, "precision"),
        (("--seq_len", 4096), 2, "--seq_len 2048"),
    ]:
        refused = vramwise(*flags, "rtx-3090", "--model", llama3, *more)
        assert refused.returncode == code and words in refused.stderr, refused.stderr
    other = vramwise("plan", "--model", "google/gemma-2-2b", "--gpu", "rtx-3090", "--for", "torchtune")
    assert other.returncode == 5 and "llama, mistral, qwen2" in other.stderr


def test_bad_questions_are_refused(vramwise, model):
    flags = ("plan", "--model", model, "--gpu", "rtx-3090")
    assert vramwise(*flags).returncode == 2
    for trainer, more, code in [
        ("deepspeed", ("--precision", "bf16-mixed"), 5),
        ("deepspeed", ("--allow", "lora"), 2),
        ("deepspeed", ("--allow", "8bit_adam"), 2),
        ("deepspeed", ("--fix", "loss=liger"), 2),
        ("transformers", ("--fix", "bucket=50M"), 2),
        ("fsdp2", (), 2),
        ("transformers", ("--allow", "everything"), 2),
        ("transformers", ("--cpu_offload", "on"), 2),
        ("transformers", ("--batch_size", 3), 2),
        ("transformers", ("--compare", "rtx-3090"), 2),
        ("transformers", ("--strategy", "safest"), 2),
        ("accelerate", ("--gradient_checkpointing", "23"), 2),
        ("transformers", ("--precision", "fp16"), 2),
    ]:
        refused = vramwise(*flags, "--for", trainer, *more)
        assert refused.returncode == code and not refused.stdout, (trainer, more, refused.stderr)
    unlike = vramwise("plan", "--model", model, "--for", "accelerate", "--gpu", "rtx-3090,rtx-4090")
    assert unlike.returncode == 2 and "unlike cards" in unlike.stderr


def test_a_length_beyond_the_models_positions_is_noted(vramwise, model):
    flags = ("--model", model, "--for", "transformers", "--gpu", "rtx-3090", "--gradient_checkpointing", "all")
    assert not plan_json(vramwise, *flags, "--seq_len", 2048)["notes"]
    assert "at most 2048 tokens" in plan_json(vramwise, *flags, "--seq_len", 4096)["notes"][0]


def test_a_length_beyond_learned_positions_is_refused(vramwise, tmp_path):
    """The model itself would stop with an index that is out of range."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2", "n_layer": 2}))
    flags = ("--model", tmp_path, "--gpu", "rtx-3090", "--seq_len")
    for command in (("estimate",), ("plan", "--for", "transformers")):
        assert vramwise(*command, *flags, 1024).returncode == 0
        refused = vramwise(*command, *flags, 1025)
        assert refused.returncode == 2 and not refused.stdout
        assert "positions for 1024 tokens" in refused.stderr and "--seq_len 1024 or less" in refused.stderr


def test_what_is_not_saved_is_told(vramwise, model, tmp_path):
    file = tmp_path / "plan.json"
    for flags in (
        ("--model", model, "--for", "transformers", "--gpu", "rtx-3090:4gb"),
        ("--vram", "1.1", "--vram_safety_margin", "1000"),
    ):
        refused = vramwise("plan", *flags, "--save", file)
        assert refused.returncode == 3, refused.stderr
        assert f"{file} was not written" in refused.stderr and not file.exists()


def test_the_table_of_knobs_is_there_as_json(vramwise):
    table = vramwise("plan", "--knobs").stdout.splitlines()
    known = json.loads(vramwise("plan", "--knobs", "--json").stdout)
    assert known["schema"] == "vramwise.knobs"
    trainers = [cell.strip(" `") for cell in table[0].split("|")[6:-1]]
    assert len(table) == 2 + len(known["knobs"]) and len(trainers) > 3
    for line, knob in zip(table[2:], known["knobs"], strict=True):
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        assert cells[:2] == [knob["knob"], knob["changes"]] and cells[3] == knob["mathematics"]
        assert [f"`{value['value']}`" for value in knob["values"]] == [each for each in cells[2].split("; ") if each]
        for trainer, cell in zip(trainers, cells[5:], strict=True):
            assert knob["trainers"][trainer]["can_turn"] or cell == "no", (knob["knob"], trainer)


def program_of(plan):
    return next(document["text"] for document in plan["documents"] if document["name"] == "train.py")


def test_which_layers_are_recomputed_can_be_fixed(vramwise, model):
    flags = ("--model", model, "--for", "transformers", "--gpu", "rtx-3090", "--batch_size", 4)
    plans = {
        how: plan_json(vramwise, *flags, "--gradient_checkpointing", how)
        for how in ("none", "4", "every-2", "selective", "all")
    }
    assert plans["every-2"]["configuration"]["checkpointing"] == "every-2"
    assert "number % 2 == 0" in program_of(plans["every-2"])
    assert plans["selective"]["configuration"]["recomputed"] == "selective"
    assert "context_fn" in program_of(plans["selective"])
    assert plans["all"]["configuration"]["recomputed"] == "whole layers"
    for how, plan in plans.items():
        told = vramwise("estimate", "--model", model, "--gpu", "rtx-3090", *estimate_flags(plan), "--json")
        assert json.loads(told.stdout)["device_bytes"] == plan["device_bytes"], (how, told.stderr)
    own = vramwise("plan", "--gpu", "rtx-3090", "--gradient_checkpointing", "selective")
    assert own.returncode == 2 and "whole blocks" in own.stderr


def test_a_model_without_sdpa_gets_eager_attention(vramwise):
    flags = ("--model", "google/gemma-2-2b", "--for", "transformers", "--gpu", "h100-80gb", "--seq_len", 512)
    assert plan_json(vramwise, *flags)["configuration"]["attention"] == "eager"
    refused = vramwise("plan", *flags, "--fix", "attention=sdpa")
    assert refused.returncode == 2 and "no sdpa attention" in refused.stderr


def test_a_checkpoint_in_float16_is_planned_in_bfloat16(vramwise, model):
    (model / "config.json").write_text(json.dumps(LLAMA | {"torch_dtype": "float16"}))
    plan = plan_json(vramwise, "--model", model, "--for", "transformers", "--gpu", "rtx-3090")
    assert plan["configuration"]["precision"] == "bf16" and "dtype=torch.bfloat16" in program_of(plan)
    assert any("float16" in note for note in plan["notes"])


def test_a_plan_of_another_trainer_is_not_trained(vramwise, model, tmp_path):
    file = tmp_path / "plan.json"
    told = vramwise("plan", "--model", model, "--for", "accelerate", "--gpu", "rtx-3090", "--save", file)
    assert told.returncode == 0, told.stderr
    refused = vramwise("train", "--plan", file, "--data_dir", tmp_path / "nothing")
    assert refused.returncode == 2
    assert "the plan is for accelerate" in refused.stderr and "vramwise explain" in refused.stderr


def test_the_table_of_knobs_is_the_documented_one(vramwise):
    text = (ROOT / "docs" / "commands.md").read_text()
    documented = re.search(r"<!-- knobs -->\n(.*?)<!-- end of knobs -->", text, re.DOTALL)[1]
    assert documented == vramwise("plan", "--knobs").stdout
