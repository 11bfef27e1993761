"""Runs of model_side.py under DeepSpeed's ZeRO: {"parallel": {"kind": "deepspeed", "ranks", "rank", "config"}}, where
"config" is what a ds_config.json holds. The engine scales, clips and steps by itself.
"""

import copy
import os
import types

import deepspeed
import deepspeed.comm
import torch
import torch_side as ops
from deepspeed.accelerator import get_accelerator
from deepspeed.ops.op_builder import FusedAdamBuilder
from deepspeed.utils import groups

deepspeed.utils.logger.setLevel("ERROR")
# Nothing compiles its kernel here, which takes no memory and would compute nothing.
FusedAdamBuilder.load = lambda *_: types.SimpleNamespace(multi_tensor_adam=lambda *_: None)
GROUPS_AT_IMPORT = {name: copy.copy(value) for name, value in vars(groups).items() if name.isupper() and name[1] != "_"}
# The peaks are those of the whole run, of which DeepSpeed would forget the beginning.
get_accelerator().reset_peak_memory_stats = lambda *_: None


def set_environment(described):
    """What the launcher sets; this process is one of its machine's, on the first card that it sees."""
    os.environ |= {"RANK": str(described["rank"]), "WORLD_SIZE": str(described["ranks"]), "LOCAL_RANK": "0"}
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}


def forget_groups():
    """DeepSpeed keeps its process groups in its modules; the next run has others."""
    deepspeed.comm.comm.cdb = None
    for name, value in GROUPS_AT_IMPORT.items():
        setattr(groups, name, copy.copy(value))


def make_engine(model, run):
    set_environment(run["parallel"])
    config = copy.deepcopy(run["parallel"]["config"])
    optimizer = None
    if "optimizer" not in config:
        optimizer = ops.make_optimizer(run["optimizer"], list(model.parameters()))
    return deepspeed.initialize(model=model, optimizer=optimizer, config=config)[0]


def train(model, run, inputs, loss_of, wait):
    engine = make_engine(model, run)
    batch = {}
    for _ in range(run["steps"]):
        for _ in range(run.get("accumulate", 1)):
            for item in inputs:
                batch[item["name"]] = torch.zeros(item["size"], dtype=ops.dtype(item["dtype"])).to(ops.CUDA)
            loss = loss_of(engine, batch, run)
            engine.backward(loss)
            del loss
            engine.step()
        wait(run)
    return engine, batch


def end(kept):
    kept[0].destroy()
    forget_groups()
