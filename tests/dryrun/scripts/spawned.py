"""Starts its ranks by itself, as tutorials of DDP do: `spawned.py NPROCS`."""

import os
import sys

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel


def main(rank, world):
    os.environ.update(MASTER_ADDR="localhost", MASTER_PORT="29400")
    dist.init_process_group("nccl", rank=rank, world_size=world)
    torch.cuda.set_device(rank)
    module = DistributedDataParallel(nn.Linear(1024, 1024).cuda(), device_ids=[rank])
    optimizer = torch.optim.Adam(module.parameters())
    for _ in range(2):
        module(torch.randn(4, 1024, device="cuda")).sum().backward()
        optimizer.step()
    print(f"rank {rank} of {world} is done", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    mp.spawn(main, args=(int(sys.argv[1]),), nprocs=int(sys.argv[1]))
