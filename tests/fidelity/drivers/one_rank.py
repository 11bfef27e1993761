"""This process as rank 0 of many: the emulated NCCL answers for the peers, and the store is in this process."""

import os


def pretend(world_size):
    import torch.distributed as dist

    os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE=str(world_size), LOCAL_WORLD_SIZE=str(world_size))
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29500", GROUP_RANK="0", TORCHELASTIC_RUN_ID="none")
    start = dist.init_process_group

    def with_own_store(backend=None, **options):
        for name in ("init_method", "rank", "world_size"):
            options.pop(name, None)
        return start(backend, **(options | {"store": dist.HashStore(), "rank": 0, "world_size": world_size}))

    dist.init_process_group = with_own_store
    import torch.distributed.distributed_c10d as module

    module.init_process_group = with_own_store
