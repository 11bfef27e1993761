"""Runs torchtune's recipe full_finetune_single_device on an emulated card and prints its allocations, as tape_models
does with "recipe".

Read from stdin: a list of runs: {"recipe": true, "config": {… as in config.json …}, "model": the recipe's, with its
"_component_", "dtype": "bfloat16" | "float32", "batch", "length", "steps", "accumulate", "checkpoint": bool,
"chunked": bool, "optimizer": {"name": "adamw", "how"}}. Printed: for each run its events (see tape_ops) from the
model's making to the end of the saved checkpoint's conversion, and both peaks in bytes.
"""

import gc
import importlib.util
import json
import os
import pathlib
import sys

import torch
import torch_side as ops
import torchtune
import vramwise_values
from omegaconf import OmegaConf
from torchtune.config._utils import _get_component_from_path
from torchtune.models import convert_weights

# The configuration names classes of stand_ins.py there.
sys.path.append(str(pathlib.Path(__file__).parents[2] / "cli" / "verify"))

RECIPE = pathlib.Path(torchtune.__file__).parents[1] / "recipes" / "full_finetune_single_device.py"
TYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


class Weights:
    """Memory that nobody wrote to; what is saved is converted, and kept to the end."""

    def __init__(self, model, dtype, kind, heads, kv_heads, width, **unused):
        self.model, self.dtype, self.kind = dict(model), TYPES[dtype], kind
        self.sizes = {"num_heads": heads, "num_kv_heads": kv_heads, "dim": width}

    def load_checkpoint(self):
        described = dict(self.model)
        make = _get_component_from_path(described.pop("component"))
        with torch.device("meta"):
            weights = make(**described).state_dict()
        return {"model": {k: torch.empty_like(w, device="cpu", dtype=self.dtype) for k, w in weights.items()}}

    def save_checkpoint(self, state, **unused):
        converted = state if self.kind == "qwen2" else convert_weights.tune_to_hf(state["model"], **self.sizes)
        self.entries = ops.trace()
        del converted


class Logger:
    def __init__(self, **unused):
        pass

    def log_config(self, config):
        pass

    def log_dict(self, payload, step):
        pass

    def close(self):
        pass


def configuration(run):
    config, how = run["config"], run["optimizer"]["how"]
    described = {"component" if key == "_component_" else key: value for key, value in run["model"].items()}
    loss = "torchtune.modules.loss.CEWithChunkedOutputLoss" if run["chunked"] else "torch.nn.CrossEntropyLoss"
    return OmegaConf.create(
        {
            "model": run["model"],
            "tokenizer": {"_component_": "stand_ins.Tokenizer"},
            "checkpointer": {
                "_component_": "tune_side.Weights",
                "model": described,
                "model_type": "LLAMA3",
                "kind": config["model_type"],
                "dtype": run["dtype"],
                "heads": config["num_attention_heads"],
                "kv_heads": config["num_key_value_heads"],
                "width": config["hidden_size"],
            },
            "dataset": {
                "_component_": "stand_ins.Rows",
                "count": run["batch"] * run["accumulate"] * run["steps"],
                "length": run["length"],
            },
            "metric_logger": {"_component_": "tune_side.Logger"},
            "loss": {"_component_": loss},
            "optimizer": {
                "_component_": "torch.optim.AdamW",
                "lr": 2e-5,
                "fused": how == "fused",
                "foreach": how == "foreach",
            },
            "batch_size": run["batch"],
            "gradient_accumulation_steps": run["accumulate"],
            "enable_activation_checkpointing": run["checkpoint"],
            "dtype": {"bfloat16": "bf16", "float32": "fp32"}[run["dtype"]],
            **{"output_dir": "out", "resume_from_checkpoint": False, "optimizer_in_bwd": False, "compile": False},
            **{"device": "cuda", "seed": 1, "shuffle": True, "epochs": 1, "max_steps_per_epoch": None},
        }
    )


def measure(module, run):
    torch._C._cuda_clearCublasWorkspaces()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    ops.record()
    config = configuration(run)
    recipe = module.FullFinetuneRecipeSingleDevice(cfg=config)
    recipe.setup(cfg=config)
    recipe.train()
    result = {"events": ops.numbered(recipe._checkpointer.entries), "allocated": torch.cuda.max_memory_allocated()}
    return result | {"reserved": torch.cuda.max_memory_reserved(), "pinned": 0}


def main():
    out = os.dup(1)
    os.dup2(2, 1)  # what the recipe prints
    sys.modules["tune_side"] = sys.modules["__main__"]  # the configuration names classes of this file
    described = importlib.util.spec_from_file_location("recipe", RECIPE)
    module = importlib.util.module_from_spec(described)
    described.loader.exec_module(module)
    vramwise_values.load(torch)
    ops.warm_up()
    results = []
    for run in json.load(sys.stdin):
        results.append(measure(module, run))
        gc.collect()
    os.write(out, json.dumps(results).encode())


if __name__ == "__main__":
    main()
