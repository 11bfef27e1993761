"""A DeepSpeed script, started by `deepspeed deepspeed_zero.py STAGE`."""

import argparse

import deepspeed
import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("stage", type=int)
parser.add_argument("--local_rank", type=int, default=-1)
parser.add_argument("--save")
arguments = parser.parse_args()

deepspeed.init_distributed()
config = {
    "train_micro_batch_size_per_gpu": 4,
    "gradient_accumulation_steps": 2,
    "bf16": {"enabled": True},
    "zero_optimization": {"stage": arguments.stage},
    "optimizer": {"type": "AdamW", "params": {"lr": 1e-4, "torch_adam": True}},
    "gradient_clipping": 1.0,
}
with deepspeed.zero.Init(config_dict_or_path=config, enabled=arguments.stage == 3):
    model = nn.Sequential(*(nn.Sequential(nn.Linear(1024, 4096), nn.ReLU(), nn.Linear(4096, 1024)) for _ in range(4)))
engine, *_ = deepspeed.initialize(model=model, model_parameters=model.parameters(), config=config)
for _ in range(6):
    x = torch.randn(4, 1024, device=engine.device, dtype=torch.bfloat16)
    engine.backward(engine(x).float().square().mean())
    engine.step()
if arguments.save:
    engine.save_checkpoint(arguments.save)
print(
    f"ZeRO-{arguments.stage} rank {engine.global_rank} of {engine.world_size} on {engine.device}: "
    f"{torch.cuda.max_memory_allocated() >> 20} MiB"
)
