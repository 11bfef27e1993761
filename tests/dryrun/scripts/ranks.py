"""One rank of many in the ways that PyTorch shares work between cards; prints one JSON object."""

import functools
import gc
import json
import os
import tempfile

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, get_optimizer_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullStateDictConfig, FullyShardedDataParallel, StateDictType, fully_shard
from torch.distributed.fsdp.wrap import size_based_auto_wrap_policy
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

results = {}
WIDTH = 1024
LAYER = WIDTH * 4 * WIDTH * 2 + 5 * WIDTH  # parameters of one block


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x):
        return x + self.down(torch.relu(self.up(x)))


def model():
    return nn.Sequential(*(Block() for _ in range(4))).cuda()


def train(module, parameters=None):
    optimizer = torch.optim.AdamW(parameters or module.parameters())
    for _ in range(3):
        module(torch.randn(8, WIDTH, device="cuda")).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return optimizer


def case(function):
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    found = function() or {}
    results[function.__name__] = {**found, "peak": torch.cuda.max_memory_allocated() - before}


def live_parameters(module, optimizer):
    torch.cuda.synchronize()
    states = sum(
        getattr(t, "_local_tensor", t).nbytes for s in optimizer.state.values() for t in s.values() if t.dim() > 0
    )
    return {
        "parameters": sum(getattr(p, "_local_tensor", p).nbytes for p in module.parameters()),
        "states": states,
    }


dist.init_process_group("cpu:gloo,cuda:nccl")
rank, world, local_rank = dist.get_rank(), dist.get_world_size(), int(os.environ["LOCAL_RANK"])
torch.cuda.set_device(local_rank)


@case
def ranks():
    data = TensorDataset(torch.arange(24))
    sampler = DistributedSampler(data, shuffle=False)
    return {
        "rank": rank,
        "world": world,
        "cards": torch.cuda.device_count(),
        "samples": [int(x) for (batch,) in DataLoader(data, sampler=sampler) for x in batch],
    }


@case
def host_collectives():
    t = torch.tensor([2.0, 3.0])
    total, largest = t.clone(), t.clone()
    dist.all_reduce(total)
    dist.all_reduce(largest, op=dist.ReduceOp.MAX)
    gathered = [torch.zeros(2) for _ in range(world)]
    dist.all_gather(gathered, t)
    exchanged = [torch.zeros(1) for _ in range(world)]
    dist.all_to_all(exchanged, list(torch.arange(float(world)).chunk(world)))
    single = torch.zeros(2 * world)
    dist.all_gather_into_tensor(single, t)
    scattered = torch.zeros(1)
    dist.reduce_scatter_tensor(scattered, torch.arange(float(world)))
    half = dist.new_group(list(range(rank % 2, world, 2)), backend="gloo")
    in_half = torch.ones(1)
    dist.all_reduce(in_half, group=half)
    dist.monitored_barrier(half)
    dist.barrier()
    return {
        "sum": total.tolist(),
        "max": largest.tolist(),
        "gathered": [g.tolist() for g in gathered],
        "exchanged": [int(e) for e in exchanged],
        "single": single.tolist(),
        "scattered": scattered.item(),
        "half": in_half.item(),
    }


@case
def objects():
    everyone = [None] * world
    dist.all_gather_object(everyone, {"rank": rank})
    gathered = [None] * world if rank == 0 else None
    dist.gather_object(("from", rank), gathered, dst=0)
    told = ["config", {"steps": 3}]
    dist.broadcast_object_list(told, src=0)
    got = [None]
    dist.scatter_object_list(got, [f"part {i}" for i in range(world)] if rank == 0 else None, src=0)
    store = dist.distributed_c10d._get_default_store()
    store.set(f"hello/{rank}", "here")
    store.wait([f"hello/{i}" for i in range(world)])
    return {
        "everyone": everyone,
        "gathered": gathered,
        "told": told,
        "scattered": got,
        "store": [store.get(f"hello/{i}").decode() for i in range(world)],
    }


@case
def ddp():
    module = DistributedDataParallel(model(), device_ids=[local_rank])
    optimizer = train(module)
    loss = torch.ones(1, device="cuda")
    dist.all_reduce(loss, op=dist.ReduceOp.AVG)
    return {"loss": loss.item(), **live_parameters(module, optimizer)}


@case
def fsdp1():
    module = FullyShardedDataParallel(
        model(),
        auto_wrap_policy=functools.partial(size_based_auto_wrap_policy, min_num_params=LAYER),
        device_id=local_rank,
        use_orig_params=True,
    )
    optimizer = train(module)
    found = live_parameters(module, optimizer)
    whole = FullStateDictConfig(offload_to_cpu=True, rank0_only=True)
    with FullyShardedDataParallel.state_dict_type(module, StateDictType.FULL_STATE_DICT, whole):
        state = module.state_dict()
    optimizer_state = FullyShardedDataParallel.optim_state_dict(module, optimizer)
    return {**found, "saved": sum(t.nbytes for t in state.values()), "optimizer_saved": len(optimizer_state["state"])}


@case
def fsdp2():
    module = model()
    for block in module:
        fully_shard(block)
    fully_shard(module)
    optimizer = train(module)
    found = live_parameters(module, optimizer)
    whole = get_model_state_dict(module, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    with tempfile.TemporaryDirectory() as folder:
        state = {"model": get_model_state_dict(module), "optimizer": get_optimizer_state_dict(module, optimizer)}
        dcp.save(state, checkpoint_id=folder)
        files = len(os.listdir(folder))
        dcp.load(state, checkpoint_id=folder)
    return {**found, "saved": sum(t.nbytes for t in whole.values()), "files": files}


def tensor_parallel(module, mesh):
    for block in module:
        parallelize_module(block, mesh, {"up": ColwiseParallel(), "down": RowwiseParallel()})
    return module


@case
def tp():
    module = tensor_parallel(model(), init_device_mesh("cuda", (world,)))
    optimizer = train(module)
    return live_parameters(module, optimizer)


@case
def mesh():
    mesh = init_device_mesh("cuda", (world // 2, 2), mesh_dim_names=("dp", "tp"))
    module = tensor_parallel(model(), mesh["tp"])
    for block in module:
        fully_shard(block, mesh=mesh["dp"])
    fully_shard(module, mesh=mesh["dp"])
    optimizer = train(module)
    return {**live_parameters(module, optimizer), "sizes": [mesh["dp"].size(), mesh["tp"].size()]}


dist.destroy_process_group()
print(json.dumps(results))
