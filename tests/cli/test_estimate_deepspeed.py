"""vramwise estimate --deepspeed: the file's settings hold, each input names its source, and what is wrong is said."""

import json

import pytest

MICRO = {"train_micro_batch_size_per_gpu": "auto"}


@pytest.fixture
def estimate(vramwise, folder):
    def run(config, *flags, gpu="4xrtx-3090"):
        text = config if isinstance(config, str) else json.dumps(config)
        (folder / "ds.json").write_text(text)
        named = ("--model", folder, "--gpu", gpu, "--deepspeed", folder / "ds.json")
        return vramwise("estimate", *named, *flags, "--json")

    return run


def sources_of(ended):
    assert ended.returncode == 0, ended.stderr
    return {each["name"]: each["source"] for each in json.loads(ended.stdout)["inputs"]}


def test_what_the_file_leaves_out_is_a_default(estimate):
    sources = sources_of(estimate({"zero_optimization": {"stage": 1}, "bf16": {"enabled": True}, **MICRO}))
    assert sources["parallel"] == "--deepspeed" and sources["precision"].endswith("ds.json: fp16, bf16")
    for name in ("reduce_bucket_size", "overlap_comm", "gradient clipping"):
        assert sources[name] == "DeepSpeed's default", name
    assert sources["micro-batch"] == sources["optimizer"] == "default"


def test_what_the_file_says_names_the_file(estimate):
    zero = {"stage": 2, "reduce_bucket_size": 2e7, "overlap_comm": True}
    optimizer = {"type": "AdamW", "params": {"torch_adam": True, "fused": True}}
    config = {"zero_optimization": zero, "gradient_clipping": 0, "optimizer": optimizer}
    ended = estimate({**config, "train_micro_batch_size_per_gpu": 3})
    sources = sources_of(ended)
    for name, key in [
        ("reduce_bucket_size", "reduce_bucket_size"),
        ("overlap_comm", "overlap_comm"),
        ("gradient clipping", "gradient_clipping"),
        ("micro-batch", "train_micro_batch_size_per_gpu"),
        ("optimizer", "optimizer"),
    ]:
        assert sources[name].endswith(f"ds.json: {key}"), name
    values = {each["name"]: each["value"] for each in json.loads(ended.stdout)["inputs"]}
    assert values["gradient clipping"] == "off" and values["overlap_comm"] == "on" and values["micro-batch"] == "3"
    assert values["optimizer"] == "adamw-fused" and values["parallel"] == "DeepSpeed's ZeRO-2 over 4 cards"


def test_one_card_has_the_engine_too(estimate):
    config = {"zero_optimization": {"stage": 2, "reduce_bucket_size": 1e7}, "bf16": {"enabled": True}, **MICRO}
    one, four = estimate(config, gpu="rtx-3090"), estimate(config)
    assert "over 1 card" in one.stdout
    assert json.loads(one.stdout)["reserved_bytes"] > json.loads(four.stdout)["reserved_bytes"]


def test_transformers_trainer_opens_two_communicators_under_the_engine(estimate, vramwise):
    config = {"zero_optimization": {"stage": 1, "reduce_bucket_size": 1e7}, "bf16": {"enabled": True}, **MICRO}
    of_engine = json.loads(estimate(config).stdout)["communicator_bytes"]
    config["zero_optimization"]["stage"] = 3
    assert of_engine == 2 * json.loads(estimate(config).stdout)["communicator_bytes"] > 0
    config["fp16"] = config.pop("bf16")  # whose overflow is told in the second one
    assert of_engine == json.loads(estimate(config).stdout)["communicator_bytes"]


@pytest.mark.parametrize(
    ("config", "code", "said"),
    [
        ("{", 4, "not valid JSON, line 1, column 2"),
        ('{\n  "bf16": {},\n}', 4, "not valid JSON, line 3, column 1"),
        ([], 4, "no configuration of DeepSpeed"),
        ({"zero_optimization": {"stage": "two"}}, 4, "stage must be a number"),
        ({"zero_optimization": {"stage": 2, "overlap_com": True}}, 4, "no setting of DeepSpeed's"),
        ({"zero_optimization": {"stage": 2, "contiguous_gradients": False}}, 5, "not modelled"),
        ({"zero_optimization": {"stage": 2}, "train_micro_batch_size_per_gpu": 2}, 2, "say different things"),
        ({"zero_optimization": {"stage": 2}, "train_batch_size": 6}, 4, "train_batch_size 6 is not"),
        ({"zero_optimization": {"stage": 2}}, 4, "neither train_batch_size nor"),
        ({"zero_optimization": {"stage": 0}, **MICRO}, 5, "without ZeRO"),
        ({"bf16": {"enabled": True}, **MICRO}, 5, "without ZeRO"),
    ],
)
def test_what_is_wrong_with_the_file_is_said(estimate, config, code, said):
    ended = estimate(config, "--batch_size", 4)
    assert ended.returncode == code and said in ended.stderr and not ended.stdout


def test_a_flag_against_a_default_of_deepspeeds_names_the_key(estimate):
    ended = estimate({"zero_optimization": {"stage": 2}, **MICRO}, "--no_clip")
    assert ended.returncode == 2 and "write gradient_clipping into the file" in ended.stderr


def test_a_stage_may_be_a_text(estimate):
    values = json.loads(estimate({"zero_optimization": {"stage": "2"}, **MICRO}).stdout)["inputs"]
    assert "DeepSpeed's ZeRO-2 over 4 cards" in [each["value"] for each in values]


def test_without_a_value_checkpointing_is_of_all_layers(vramwise):
    helped = vramwise("estimate", "--help").stdout
    assert "--gradient_checkpointing [TEXT] " in helped and "TEXT=all" not in helped
