"""How each published run is repeated: which environment, driver and card, what differs from it, or why it can't be run.

Only what was published decides; no figure of a run is used here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


class NotRunnable(Exception):
    """Why a drawn case is replaced by the next of the draw."""


@dataclass(frozen=True)
class Plan:
    environment: str
    driver: str
    card: str
    arguments: list[str]
    differs: list[str] = field(default_factory=list)  # what is known to be other than in the published run
    assumed: list[str] = field(default_factory=list)  # what was not published
    checkouts: dict[str, str] = field(default_factory=dict)  # argument of the driver → folder
    cards: int = 1
    variables: dict = field(default_factory=dict)


LIGHTNING = "lightning 2.2.0 for the git commit of its time, which no registry has"
LATER = (
    "samples after the first, which is the longest, have 300 tokens at most (the run drew them at random from Alpaca);"
    " *up to* is the peak if they are all as long as the longest"
)
ADAPTERS = (
    "Lit-GPT at 0f021f3a of January 2024, which brought these rows, under torch 2.2.2; the page names 8641822 and torch"
    " 2.1.0, as it has since its first rows of October 2023. That these rows were measured under 2.2 is inferred from"
    " them: under 2.1.0, which keeps the input of mean for the backward pass, they are +0.2 to +10.7 % off"
)
BNB = "bitsandbytes 0.41.0, which that lightning demands; the table names 0.41.1"


def litgpt_tables(case: dict) -> Plan:
    """Lit-GPT at the commit that the tables name; the rows of the adapters came later, with commit 0f021f3a, whose
    pull request also brought the --quantize of their scripts, so they run at that commit (ADAPTERS)."""
    method = {"LoRA": "lora", "Adapter v1": "adapter", "Adapter v2": "adapter_v2"}[case["peft"]["method"]]
    arguments = ["--script", method, "--model", case["model"]["hf"].split("/")[1]]
    arguments += ["--longest", str(case["seq_len"]), "--micro_batch", str(case["micro_batch"])]
    arguments += ["--devices", str(case["n_gpus"])]
    quantize = case["peft"].get("quant")
    if quantize:
        arguments += ["--quantize", quantize]
    checkouts = {"--checkout": "lit-gpt-8641822" if method == "lora" else "lit-gpt-0f021f3a"}
    differs = [LIGHTNING] + [BNB] * bool(quantize) + [ADAPTERS] * (method != "lora")
    environment = "lit-gpt-2023" if method == "lora" else "lit-gpt-2024-01"
    return Plan(environment, "litgpt_scripts.py", "a100-40gb-sxm", arguments, differs, [LATER], checkouts)


# Parameters as litgpt builds these models: the embedding and the head are two matrices.
FULL_PARAMETERS = {
    "meta-llama/Llama-3.2-1B": 1_498_482_688,
    "meta-llama/Llama-3.2-3B": 3_606_752_256,
    "microsoft/Phi-3-mini-4k-instruct": 3_821_079_552,
    "TinyLlama/TinyLlama-1.1B-intermediate-step-1431k-3T": 1_100_048_384,
}


def litgpt_hub(case: dict) -> Plan:
    """litgpt of 2024. The versions were not published: those of the day on which a row first appeared."""
    name = case["id"]
    recent = ("gemma2", "llama-3.1", "llama-3.2")
    environment = "litgpt-2024-04"
    if any(part in name for part in recent):
        environment = "torch-2.4.1"
    elif "phi-3" in name:
        environment = "litgpt-2024-07"
    if not case["peft"] and case["n_gpus"] == 1:
        least = 4 * 2 * FULL_PARAMETERS[case["model"]["hf"]]
        if least > case["published"]["value"] * case["published"]["unit_bytes"]:
            raise NotRunnable(
                f"the published peak is less than the weights, gradients and two AdamW states of the published settings"
                f" ({least / 1e9:.1f} GB in bf16): not a run of these settings"
            )
    accumulation = case["grad_accum"] or 1
    arguments = ["--script", "lora" if case["peft"] else "full", "--model", case["model"]["hf"].split("/")[1]]
    arguments += ["--longest", str(case["seq_len"]), "--micro_batch", str(case["micro_batch"])]
    arguments += ["--accumulation", str(accumulation), "--devices", str(case["n_gpus"])]
    if peft := case["peft"]:
        arguments += ["--rank", str(peft["r"]), "--alpha", str(peft["alpha"]), "--dropout", str(peft["dropout"])]
        arguments += ["--targets", ",".join(peft["targets"])]
        if peft["quant"]:
            arguments += ["--quantize", peft["quant"]]
    assumed = [
        "the newest versions on the day on which the row first appeared",
        "the longest sample of Alpaca2k reaches the limit of 512 tokens, in two batches in a row",
    ]
    return Plan(environment, "litgpt_package.py", "a10g", arguments, [], assumed)


def torchao_optim(case: dict) -> Plan:
    """timm's ViT-H under PyTorch 2.4, as of August 2024."""
    name = case["id"].removeprefix("torchao-vith-")
    optimizer = {"adamw": "torch", "bnb8": "bnb8", "ao8": "ao8", "ao4": "ao4", "aofp8": "aofp8"}.get(name)
    if not optimizer:
        raise NotRunnable("lpmm, the optimizer's package, is in no registry and builds its own CUDA kernels")
    assumed = ["torchao 0.4.0, timm 1.0.8 and bitsandbytes 0.42.0, of that month"]
    arguments = ["--optimizer", optimizer, "--batch", str(case["micro_batch"])]
    return Plan("torch-2.4.1", "vit_optimizers.py", "rtx-4070-ti-super", arguments, [], assumed)


def transformers_guide(case: dict) -> Plan:
    """BERT-large on a V100; the guide is of January 2022, its own versions were not published."""
    arguments = ["--micro_batch", str(case["micro_batch"]), "--accumulation", str(case["grad_accum"])]
    arguments += ["--checkpointing"] * (case["checkpointing"] == "full")
    arguments += ["--fp16"] * ("fp16" in case["precision"]["compute"])
    optimizer = next((name for name in ("adafactor", "adam8bit") if case["id"].endswith(name)), "adamw")
    differs = ["torch 2.1.0, CUDA 12.1 and bitsandbytes 0.41.0 for those of January 2022 (torch 1.10, CUDA 11)"]
    assumed = ["transformers 4.17.0, of that month", "the context stays at the size that was printed for it"]
    arguments += ["--optimizer", optimizer]
    return Plan("transformers-2022", "bert_trainer.py", "v100-16gb-sxm", arguments, differs, assumed)


LADDER = (
    "packed",
    "compile",
    "chunkedce",
    "ac",
    "optbwd",
    "actoff",
)  # each row keeps what the rows before it turned on


def torchtune(case: dict) -> Plan:
    """torchtune 0.4 (the ladder of techniques on Llama 3.2 3B) and 0.3 (the table of Llama 3.1), packed data."""
    row = case["id"].rpartition("-")[2]
    overrides = ["batch_size=2", "gradient_accumulation_steps=1"]
    if "ladder" not in case["id"]:
        return torchtune_table(case, overrides)
    differs = ["a recipe's data set, tokenizer and weights are stood in for"]
    assumed = ["torchtune 0.4.0, torch 2.5.1, torchao 0.6.1 and bitsandbytes 0.44.1, of that month"]
    recipe, config = "full_finetune_single_device", "llama3_2/3B_full_single_device.yaml"
    if row in LADDER:
        on = LADDER[: LADDER.index(row) + 1]
        assumed.append(
            "the README doesn't name these rows' optimizer: torch's fused AdamW, as in the release's LoRA settings"
        )
        overrides += ["optimizer=torch.optim.AdamW", "optimizer.fused=true"]
        overrides += [f"compile={'compile' in on}", f"optimizer_in_bwd={'optbwd' in on}"]
        if "chunkedce" not in on:
            overrides.append("loss=torch.nn.CrossEntropyLoss")
        overrides += [f"enable_activation_checkpointing={'ac' in on}", f"enable_activation_offloading={'actoff' in on}"]
    elif row in ("lora", "qlora"):
        recipe, config = "lora_finetune_single_device", f"llama3_2/3B_{row}_single_device.yaml"
        overrides += ["compile=True", "enable_activation_checkpointing=True", "enable_activation_offloading=True"]
    else:
        raise NotRunnable(f"no settings for the row {row}")
    arguments = ["--recipe", recipe, "--config", config, "--length", str(case["seq_len"])]
    arguments += ["--plain_model", "torchtune.models.llama3_2.llama3_2_3b", *overrides]
    return Plan("torch-2.5.1", "torchtune_recipe.py", "a100-80gb-sxm", arguments, differs, assumed)


def torchtune_table(case: dict, overrides: list[str]) -> Plan:
    size, method = case["id"].removeprefix("torchtune-l31-").split("-")[:2]
    if case["offload"].startswith("fsdp_cpu_offload"):
        raise NotRunnable(
            "parameters, gradients and AdamW's states are in host memory, which one rank fills with 70 GB"
        )
    where = "distributed" if case["n_gpus"] > 1 else "single_device"
    config = f"llama3_1/{size.upper()}_{method}{'' if where == 'distributed' else '_single_device'}.yaml"
    if where == "single_device":
        overrides = [*overrides, "compile=True"]
    arguments = ["--recipe", f"{method}_finetune_{where}", "--config", config, "--length", str(case["seq_len"])]
    arguments += ["--plain_model", f"torchtune.models.llama3_1.llama3_1_{size}", "--devices", str(case["n_gpus"])]
    assumed = ["torchtune 0.3.0, torch 2.4.1 and torchao 0.5.0, of that month", "which counter was printed"]
    card = "rtx-4090" if "4090" in case["gpu"] else "a100-80gb-sxm"
    differs = ["a recipe's data set, tokenizer and weights are stood in for"]
    return Plan("torchtune-2024-09", "torchtune_recipe.py", card, [*arguments, *overrides], differs, assumed)


def torchtune_2024_05(case: dict) -> Plan:
    raise NotRunnable(
        "neither the counter, nor the unit of GB, nor how Alpaca's samples (most below 300 tokens) came to a length of"
        " 2048 was published"
    )


def ms_swift(case: dict) -> Plan:
    code = {"qwen": "Qwen", "baichuan": "Baichuan 2", "chatglm": "ChatGLM 3"}
    remote = next((name for part, name in code.items() if part in case["id"]), None)
    more = f"; {remote}'s model code is only on a model hub" if remote else ""
    raise NotRunnable(
        "reserved memory over an epoch of samples of different lengths: the lengths and their order were not published"
        f" (swift leaves out those above the limit), nor is the data set in a package{more}"
    )


def torchao_titan(case: dict) -> Plan:
    if "MI300X" in case["gpu"]:
        raise NotRunnable("an AMD card under ROCm: the emulated device is NVIDIA's")
    build = "2.9.0.dev20250815" if "B200" in case["gpu"] else "2.7.0a0+gitb98af95"
    raise NotRunnable(
        f"a build of PyTorch that no registry keeps ({build}); how much hangs on it the page shows itself: 47.7, 39.1"
        " and 33.7 GiB for the same settings under three of them"
    )


PLANS: dict[str, Callable[[dict], Plan]] = {
    "litgpt-tables": litgpt_tables,
    "litgpt-hub": litgpt_hub,
    "torchao-optim": torchao_optim,
    "transformers": transformers_guide,
    "torchtune": torchtune,
    "torchtune-2024-05": torchtune_2024_05,
    "ms-swift": ms_swift,
    "torchao-titan": torchao_titan,
}


def plan(case: dict) -> Plan:
    if case["stratum"] not in PLANS:
        raise NotRunnable("no driver yet")
    return PLANS[case["stratum"]](case)
