"""FSDP2 as rank 0 of N, alone: the other ranks are phantoms. Prints one JSON object."""

import json
import sys

import torch
import torch.distributed as dist
from torch import nn

try:
    from torch.distributed.fsdp import fully_shard
except ImportError:  # before 2.6
    from torch.distributed._composable.fsdp import fully_shard

world = int(sys.argv[1])
torch.cuda.set_device(0)
dist.init_process_group("nccl", store=dist.HashStore(), rank=0, world_size=world)
model = nn.Sequential(*(nn.Linear(2048, 2048, bias=False) for _ in range(4))).cuda()
whole = sum(p.numel() * 4 for p in model.parameters())
for layer in model:
    fully_shard(layer)
fully_shard(model)
optimizer = torch.optim.Adam(model.parameters())
for _ in range(3):
    model(torch.randn(8, 2048, device="cuda")).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
lengths = [torch.zeros(1, dtype=torch.long, device="cuda") for _ in range(world)]
dist.all_gather(lengths, torch.tensor([37], device="cuda"))
print(
    json.dumps(
        {
            "whole": whole,
            "live": torch.cuda.memory_allocated(),
            "local": model[0].weight.to_local().numel() * 4,
            "lengths": [int(x) for x in lengths],
        }
    )
)
dist.destroy_process_group()
