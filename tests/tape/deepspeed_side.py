"""Runs of model_side.py under DeepSpeed's ZeRO: {"parallel": {"kind": "deepspeed", "ranks", "rank", "config"}}, where
"config" is what a ds_config.json holds. The engine scales, clips and steps by itself.
"""

import copy
import gc
import os
import types

import deepspeed
import deepspeed.comm
import torch
import torch_side as ops
from deepspeed.accelerator import get_accelerator
from deepspeed.ops.op_builder import FusedAdamBuilder
from deepspeed.runtime.zero import parameter_offload, partition_parameters, partitioned_param_coordinator
from deepspeed.runtime.zero import utils as zero_utils
from deepspeed.utils import groups
from transformers.integrations import HfDeepSpeedConfig

deepspeed.utils.logger.setLevel("ERROR")
# Nothing compiles its kernel here, which takes no memory and would compute nothing.
FusedAdamBuilder.load = lambda *_: types.SimpleNamespace(multi_tensor_adam=lambda *_: None)
COORDINATOR = partitioned_param_coordinator.PartitionedParameterCoordinator
LINEAR = torch.nn.functional.linear
GROUPS_AT_IMPORT = {name: copy.copy(value) for name, value in vars(groups).items() if name.isupper() and name[1] != "_"}
# Another rank would compare what it does with what it hears from rank 0, which is not there.
zero_utils.dist = types.SimpleNamespace(get_rank=lambda: 0, broadcast=deepspeed.comm.broadcast)


class WorkWithState:
    """As NCCL's work has it: what hangs on the thread that started it lives as long. Other ranks' work has no state."""

    def __init__(self, work):
        self.wait = work.wait
        self.hooks = torch._C._autograd._top_saved_tensors_default_hooks(True)


def start_gather(source, target, group=None):
    work = START_GATHER(source, target, group)
    return WorkWithState(work) if os.environ["RANK"] != "0" else work


START_GATHER = partition_parameters._dist_allgather_fn
partition_parameters._dist_allgather_fn = start_gather
# The peaks are those of the whole run, of which DeepSpeed would forget the beginning.
get_accelerator().reset_peak_memory_stats = lambda *_: None


def set_environment(described):
    """What the launcher sets; this process is one of its machine's, on the first card that it sees."""
    os.environ |= {"RANK": str(described["rank"]), "WORLD_SIZE": str(described["ranks"]), "LOCAL_RANK": "0"}
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}


def forget_groups():
    """DeepSpeed keeps its process groups in its modules, and of ZeRO-3 the model; the next run has others."""
    deepspeed.comm.comm.cdb = None
    parameter_offload.FWD_MODULE_STACK.clear()
    for cell in COORDINATOR._PartitionedParameterCoordinator__params_to_release.__closure__:
        if hasattr(cell.cell_contents, "cache_clear"):
            cell.cell_contents.cache_clear()
    torch.nn.functional.linear = LINEAR
    for name, value in GROUPS_AT_IMPORT.items():
        setattr(groups, name, copy.copy(value))


def partitions(run):
    return run["parallel"]["config"]["zero_optimization"]["stage"] == 3


def partitioned_model(kind, config, run):
    """As from_pretrained makes a model for ZeRO-3: each parameter is shared out as soon as its module is made, and
    gathered again for the values of a checkpoint, which are on the host."""
    set_environment(run["parallel"])
    with torch.device("meta"):
        whole = kind._from_config(config, dtype=ops.dtype(run["dtype"])).state_dict()
    tied = kind._tied_weights_keys if config.tie_word_embeddings else {}
    values = {name: torch.empty_like(value, device="cpu") for name, value in whole.items() if name not in tied}
    described = HfDeepSpeedConfig(copy.deepcopy(run["parallel"]["config"]))  # transformers looks for it while it lives
    model = kind.from_pretrained(None, config=config, state_dict=values, dtype=ops.dtype(run["dtype"]))
    del described
    gc.collect()  # of tied weights one is garbage now, which Python would find at some time before DeepSpeed does
    return model


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
