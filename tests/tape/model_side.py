"""Trains models of transformers on an emulated card and prints the allocations of the first steps, as tape_models does.

Read from stdin: a list of runs: {"config": {… as in config.json …}, "dtype", "batch", "length", "steps", "attention",
"inputs": [{"name", "size", "dtype"}, …]?, "checkpoint": bool, "autocast": type?, "optimizer": {…}, "clip": bool,
"accumulate": n}. Without "inputs" a batch is input_ids and labels of "batch" x "length". Printed: for each run its
events (see tape_ops), from the model's move to the card to the end of the last step, and both peaks in bytes.
"""

import gc
import json
import os
import sys

import peft
import torch
import torch_side as ops
import transformers
import vramwise_values
from transformers import AutoConfig

transformers.logging.set_verbosity_error()


def model_class(config):
    """The one that config.json names, or the one with a language model's head."""
    if config.architectures:
        return getattr(transformers, config.architectures[0])
    return transformers.AutoModelForCausalLM._model_mapping[type(config)]


def make_model(run):
    described = dict(run["config"])
    config = AutoConfig.for_model(described.pop("model_type"), **described)
    config._attn_implementation = run.get("attention", "sdpa")
    with torch.device("meta"):
        model = model_class(config)._from_config(config, dtype=ops.dtype(run["dtype"]))
    model.to_empty(device="cpu")  # nobody looks at the numbers
    model.tie_weights()
    if "lora" in run:
        lora = run["lora"]
        described = {"r": lora["rank"], "lora_dropout": lora["dropout"], "target_modules": lora["targets"]}
        model = peft.get_peft_model(model, peft.LoraConfig(**described))
    return model


def loss_of(model, batch):
    return model(**batch).loss


def train(run):
    model = make_model(run).to(ops.CUDA)
    model.train()
    if run.get("checkpoint"):
        model.gradient_checkpointing_enable()
    optimizer = ops.make_optimizer(run["optimizer"], list(model.parameters()))
    ids = {"size": [run["batch"], run.get("length")], "dtype": "int64"}
    inputs = run.get("inputs", [{"name": "input_ids", **ids}, {"name": "labels", **ids}])
    batch = {}
    for _ in range(run["steps"]):
        for _ in range(run.get("accumulate", 1)):
            for item in inputs:
                batch[item["name"]] = torch.zeros(item["size"], dtype=ops.dtype(item["dtype"])).to(ops.CUDA)
            if "autocast" in run:
                with torch.autocast("cuda", ops.dtype(run["autocast"])):
                    loss = loss_of(model, batch)
            else:
                loss = loss_of(model, batch)
            loss.backward()
            del loss
        if run.get("clip"):
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()


def measure(run, stacks):
    torch._C._cuda_clearCublasWorkspaces()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    ops.record(stacks)
    train(run)
    events = ops.trace()
    peaks = {"allocated": torch.cuda.max_memory_allocated(), "reserved": torch.cuda.max_memory_reserved()}
    if stacks:
        ops.show_stacks(events)
    gc.collect()
    return {"events": ops.numbered(events), **peaks}


def measure_all(runs):
    assert vramwise_values.load(torch) is None
    stacks = int(os.environ.get("VRAMWISE_STACKS", "-1"))
    return [measure(run, stacks == i) for i, run in enumerate(runs)]


def main():
    runs = json.load(sys.stdin)
    ops.warm_up()
    print(json.dumps(measure_all(runs)))


if __name__ == "__main__":
    main()
