"""Trains models of transformers on an emulated card and prints the allocations of the first steps, as tape_models does.

Read from stdin: a list of runs: {"config": {… as in config.json …}, "dtype", "batch", "length", "steps", "attention",
"inputs": [{"name", "size", "dtype"}, …]?, "checkpoint": bool or how many layers, "every": each so-manieth of them?,
"selective": bool?, "autocast": type?, "scaler": bool?,
"optimizer": {…}, "clip": bool, "accumulate": n, "lora": {"rank", "dropout", "targets", "dora"?, "save"?}?, "quantize":
"nf4" | "nf4-double"?, "parallel": {"kind": "ddp" | "fsdp" | "tensor", "ranks", …}?}. Without "inputs" a batch is
input_ids and labels of "batch" x "length". "parallel" has "views" for gradient_as_bucket_view, "zero" for
ZeroRedundancyOptimizer;
for fsdp "offload" for CPUOffloadPolicy, "stored" and "reduced", the types of shards and of reductions, and "keeps" for
reshard_after_forward=False. "liger": true stands for Liger-Kernel's fused head and loss, "chunked": true for TRL's
fused head.
Printed: for each run its events (see tape_ops), from the model's move to the card to the end of the last step, both
peaks in bytes, and what PyTorch holds of pinned memory where a run offloads to the host.
"""

import collections
import contextlib
import gc
import importlib.util
import itertools
import json
import os
import re
import sys

import peft
import torch
import torch.distributed as dist
import torch_side as ops
import transformers
import vramwise_values
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy, fully_shard
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.distributed.tensor import DTensor
from torch.testing._internal.distributed import fake_pg  # noqa: F401  (registers "fake")
from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts
from transformers import AutoConfig
from transformers import initialization as init
from transformers.distributed import DistributedConfig
from transformers.modeling_layers import GradientCheckpointingLayer

if importlib.util.find_spec("bitsandbytes"):
    import bitsandbytes  # noqa: F401
if importlib.util.find_spec("deepspeed"):
    import deepspeed_side

transformers.logging.set_verbosity_error()


def model_class(config):
    """The one that config.json names, or the one with a language model's head."""
    if config.architectures:
        return getattr(transformers, config.architectures[0])
    return transformers.AutoModelForCausalLM._model_mapping[type(config)]


def make_unet(run):
    import diffusers

    described = {key: value for key, value in run["config"].items() if not key.startswith("_")}
    with torch.device("meta"):
        model = diffusers.UNet2DConditionModel(**described)
    model = model.to(ops.dtype(run["dtype"])).to_empty(device="cpu")
    return model.to(ops.CUDA)


def make_model(run):
    if "_class_name" in run["config"]:
        return make_unet(run)
    described = dict(run["config"])
    config = AutoConfig.for_model(described.pop("model_type"), **described)
    config._attn_implementation = run.get("attention", "sdpa")
    stored = run.get("parallel", {}).get("stored", run["dtype"])
    if is_of_deepspeed(run) and deepspeed_side.partitions(run):
        return deepspeed_side.partitioned_model(model_class(config), config, run)
    with torch.device("meta"), init.no_tie_weights():
        model = model_class(config)._from_config(config, dtype=ops.dtype(stored))
    if is_tensor_parallel(run):
        return tensor_parallel(model, run)
    model.to_empty(device="cpu")  # nobody looks at the numbers
    model.tie_weights()
    if "quantize" in run:
        return quantized(model, run)
    model = with_lora(with_fused_loss(model, run), run)
    return model if is_sharded(run) or is_of_deepspeed(run) else model.to(ops.CUDA)


def tensor_parallel(model, run):
    """As from_pretrained with a DistributedConfig leaves it: this rank's parts come onto the card one by one."""
    described = DistributedConfig(tp_size=run["parallel"]["ranks"], tp_plan="auto")
    described, _, mesh = model.prepare_distribute_model(described)
    model.maybe_distribute_model(model, described, mesh)
    model.tie_weights(recompute_mapping=False)
    materialize(model, {})
    return model


def materialize(module, made):
    """module.to_empty(device="cuda") that leaves tied weights tied."""
    for child in module.children():
        materialize(child, made)
    for name, parameter in module._parameters.items():
        if parameter is not None and parameter not in made:
            made[parameter] = torch.nn.Parameter(torch.empty_like(parameter, device=ops.CUDA))
        module._parameters[name] = made.get(parameter)
    for name, buffer in module._buffers.items():
        module._buffers[name] = torch.empty_like(buffer, device=ops.CUDA)


def with_fused_loss(model, run):
    if run.get("liger"):
        from liger_kernel.transformers import monkey_patch

        kernels = {"rope": False, "rms_norm": False, "swiglu": False}
        monkey_patch._apply_liger_kernel_to_instance(model, fused_linear_cross_entropy=True, **kernels)
    if run.get("chunked"):  # as SFTTrainer does
        from trl.trainer.utils import add_fused_lm_head

        add_fused_lm_head(model, outputs=("log_probs", "entropy", "is_top1"))
    return model


def with_lora(model, run):
    if "lora" not in run:
        return model
    lora = run["lora"]
    config = peft.LoraConfig(
        r=lora["rank"],
        lora_dropout=lora["dropout"],
        target_modules=lora["targets"],
        use_dora=lora.get("dora", False),
        modules_to_save=lora.get("save"),
        fan_in_fan_out=run["config"]["model_type"] == "gpt2",
    )
    return peft.get_peft_model(model, config)


def quantized(model, run):
    """As from_pretrained with a BitsAndBytesConfig leaves it, but quantized on the way from the CPU."""
    bnb = sys.modules["bitsandbytes"]
    for name, module in list(model.named_modules()):
        if not isinstance(module, torch.nn.Linear) or name == "lm_head":
            continue
        layer = bnb.nn.Linear4bit(
            module.in_features,
            module.out_features,
            module.bias is not None,
            compute_dtype=ops.dtype(run["dtype"]),
            device="meta",
        )
        layer.weight = bnb.nn.Params4bit(
            module.weight.data,
            requires_grad=False,
            compress_statistics=run["quantize"] == "nf4-double",
            quant_type="nf4",
            module=layer,
        )
        layer.bias = module.bias
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, layer)
    model.is_loaded_in_4bit = True
    model = peft.prepare_model_for_kbit_training(
        model.to(ops.CUDA), use_gradient_checkpointing=bool(run.get("checkpoint"))
    )
    return with_lora(model, run)


class Both:
    """Muon for the matrices of the layers, AdamW for the rest."""

    def __init__(self, model):
        named = list(model.named_parameters())
        matrices = [p for name, p in named if p.dim() == 2 and re.search(r"\.(layers?|h)\.", name)]
        others = [p for _, p in named if not any(p is matrix for matrix in matrices)]
        self.optimizers = [torch.optim.Muon(matrices), torch.optim.AdamW(others, foreach=True)]

    def step(self):
        for optimizer in self.optimizers:
            optimizer.step()

    def zero_grad(self):
        for optimizer in self.optimizers:
            optimizer.zero_grad()


def make_optimizer(run, model):
    described = run["optimizer"]
    if run.get("parallel", {}).get("zero"):
        kind, options = ops.optimizer_class(described)
        return ZeroRedundancyOptimizer(model.parameters(), kind, **options)
    if described["name"] == "muon":
        return Both(model)
    return ops.make_optimizer(described, groups_by_mesh(model) if is_tensor_parallel(run) else list(model.parameters()))


def groups_by_mesh(model):
    """As transformers' Trainer: kernels over many tensors take either DTensors or others."""
    groups = collections.defaultdict(list)
    for parameter in model.parameters():
        groups[isinstance(parameter, DTensor)].append(parameter)
    return [{"params": parameters} for parameters in groups.values()]


KEPT = (
    torch.ops.aten.addmm.default,
    torch.ops.aten.bmm.default,
    torch.ops.aten._scaled_dot_product_flash_attention.default,
    torch.ops.aten._scaled_dot_product_efficient_attention.default,
    torch.ops.aten._scaled_dot_product_cudnn_attention.default,
)


def selective_contexts():
    """torchtitan's policy (SelectiveAC): results of attention and products are kept, of plain mm every second one."""
    products = itertools.count(1)

    def policy(_, op, *__, **___):
        is_kept = next(products) % 2 == 1 if op is torch.ops.aten.mm.default else op in KEPT
        return CheckpointPolicy.MUST_SAVE if is_kept else CheckpointPolicy.PREFER_RECOMPUTE

    return create_selective_checkpoint_contexts(policy)


def checkpoint_layers(model, run):
    """All layers, the first so many, or each n-th."""
    wanted = run.get("checkpoint")
    if not wanted:
        return
    if hasattr(model, "enable_gradient_checkpointing"):  # diffusers
        return model.enable_gradient_checkpointing()
    chosen = {"use_reentrant": False, "context_fn": selective_contexts} if run.get("selective") else None
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=chosen)
    for number, layer in enumerate(layers_of(model), 1):
        layer.gradient_checkpointing = (wanted is True or number <= wanted) and number % run.get("every", 1) == 0


def noise_loss(model, batch):
    """As diffusers' train_text_to_image.py takes it."""
    target = batch["target"]
    added = {name: batch[name] for name in ("text_embeds", "time_ids") if name in batch}
    rest = {"added_cond_kwargs": added} if added else {}
    predicted = model(batch["sample"], batch["timestep"], batch["encoder_hidden_states"], return_dict=False, **rest)[0]
    return torch.nn.functional.mse_loss(predicted.float(), target.float(), reduction="mean")


def is_tensor_parallel(run):
    return run.get("parallel", {}).get("kind") == "tensor"


def is_sharded(run):
    return run.get("parallel", {}).get("kind") == "fsdp"


def is_of_deepspeed(run):
    return run.get("parallel", {}).get("kind") == "deepspeed"


@contextlib.contextmanager
def alone_in_group(run):
    """This process is rank 0; the emulator's NCCL answers for the others. Another rank has no collectives at all."""
    if "parallel" not in run:
        yield
        return
    os.environ.setdefault("TORCH_NCCL_ENABLE_MONITORING", "0")  # its thread would ask the store while Python ends
    # What is summed on the host takes nothing of the device.
    rank = run["parallel"].get("rank", 0)
    backends = f"cpu:fake,cuda:{'fake' if rank else 'nccl'}"
    dist.init_process_group(backends, store=dist.HashStore(), rank=rank, world_size=run["parallel"]["ranks"])
    try:
        yield
    finally:
        dist.destroy_process_group()


def parallelized(model, run):
    """A model on the host becomes shards; another is replicated."""
    if "parallel" not in run or is_tensor_parallel(run):
        return model
    described = run["parallel"]
    if described["kind"] == "ddp":
        views = described.get("views", False)
        return torch.nn.parallel.DistributedDataParallel(model, device_ids=[0], gradient_as_bucket_view=views)
    options = {"mesh": init_device_mesh("cuda", (described["ranks"],))}
    if "stored" in described:
        types = {"param_dtype": ops.dtype(run["dtype"]), "reduce_dtype": ops.dtype(described["reduced"])}
        options["mp_policy"] = MixedPrecisionPolicy(**types)
    if described.get("offload"):
        options["offload_policy"] = CPUOffloadPolicy()
    for layer in layers_of(model):
        fully_shard(layer, **options, **({"reshard_after_forward": False} if described.get("keeps") else {}))
    return fully_shard(model, **options)


def pass_context(model, run, is_last):
    """DistributedDataParallel sums gradients in a step's last pass only."""
    waits = run.get("parallel", {}).get("kind") == "ddp" and not is_last
    return model.no_sync() if waits else contextlib.nullcontext()


def wait_for_collectives(run):
    """A thread of NCCL's process group lets go of their tensors now and then; steps take no time here."""
    if "parallel" in run and not run["parallel"].get("rank"):
        dist.distributed_c10d._get_default_group()._wait_for_pending_works()


def layers_of(model):
    return [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]


def loss_of(model, batch, run):
    if "target" in batch:
        return noise_loss(model, batch)
    added = {"fused_lm_head": True} if run.get("chunked") else {}
    return model(**batch, **run.get("arguments", {}), **added).loss


def train(run):
    model = make_model(run)
    model.train()
    checkpoint_layers(model, run)
    ids = {"size": [run["batch"], run.get("length")], "dtype": "int64"}
    inputs = run.get("inputs", [{"name": "input_ids", **ids}, {"name": "labels", **ids}])
    if is_of_deepspeed(run):
        return deepspeed_side.train(model, run, inputs, loss_of, wait_for_collectives)
    model = parallelized(model, run)
    optimizer = make_optimizer(run, model)
    scaler = torch.amp.GradScaler("cuda", enabled=bool(run.get("scaler")))
    batch = {}
    for _ in range(run["steps"]):
        passes = run.get("accumulate", 1)
        for i in range(passes):
            for item in inputs:
                batch[item["name"]] = torch.zeros(item["size"], dtype=ops.dtype(item["dtype"])).to(ops.CUDA)
            with pass_context(model, run, i + 1 == passes):
                if "autocast" in run:
                    with torch.autocast("cuda", ops.dtype(run["autocast"])):
                        loss = loss_of(model, batch, run)
                else:
                    loss = loss_of(model, batch, run)
                scaler.scale(loss).backward()
            del loss
        if run.get("clip"):
            scaler.unscale_(optimizer)
            clip_gradients(model, run)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        wait_for_collectives(run)
    return model, optimizer, scaler, batch


def clip_gradients(model, run):
    if is_tensor_parallel(run):
        return transformers.Trainer._mixed_mesh_grad_norm(None, model, 1.0)
    return torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)


def measure(run, stacks):
    gc.collect()  # what threads of the run before had still in hand at its end
    if "quantize" in run:
        sys.modules["bitsandbytes"].functional.name2qmap.clear()
    torch._C._cuda_clearCublasWorkspaces()
    torch.cuda.empty_cache()
    torch._C._host_emptyCache()
    torch.cuda.reset_peak_memory_stats()
    ops.record(stacks)
    with alone_in_group(run):
        kept = train(run)
        events = ops.trace()
        peaks = {"allocated": torch.cuda.max_memory_allocated(), "reserved": torch.cuda.max_memory_reserved()}
        pinned = torch.cuda.host_memory_stats()["allocated_bytes.current"]
        peaks["pinned"] = pinned if run.get("parallel", {}).get("offload") else 0
        if stacks:
            ops.show_stacks(events)
        if is_of_deepspeed(run):
            deepspeed_side.end(kept)
        del kept
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
