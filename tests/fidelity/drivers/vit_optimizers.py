"""The fine-tuning behind torchao's table of low-bit optimizers: timm's ViT-H, compiled, bf16 autocast, fixed batch.

The published benchmark's own steps (move a batch, autocast, cross-entropy, backward, optimizer, and an evaluation at
the end) on random images of the same size, with weights that were never trained: neither decides an allocation.
"""

import argparse
import pathlib
import sys

parser = argparse.ArgumentParser()
parser.add_argument("--optimizer", required=True)
parser.add_argument("--batch", type=int, required=True)
parser.add_argument("--steps", type=int, default=4)
args = parser.parse_args()
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import bitsandbytes  # noqa: E402
import peaks  # noqa: E402
import timm  # noqa: E402
import torch  # noqa: E402
from torchao.prototype import low_bit_optim  # noqa: E402

OPTIMIZERS = {
    "torch": lambda parameters: torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0, fused=True),
    "bnb8": lambda parameters: bitsandbytes.optim.AdamW8bit(parameters, lr=1e-4, weight_decay=0),
    "ao8": lambda parameters: low_bit_optim.AdamW8bit(parameters, lr=1e-4, weight_decay=0),
    "ao4": lambda parameters: low_bit_optim.AdamW4bit(parameters, lr=1e-4, weight_decay=0),
    "aofp8": lambda parameters: low_bit_optim.AdamWFp8(parameters, lr=1e-4, weight_decay=0),
}


def set_rate(optimizer, rate):
    for group in optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def main():
    torch.manual_seed(2024)
    for initializer in ("kaiming_uniform_", "uniform_", "normal_", "trunc_normal_"):
        setattr(torch.nn.init, initializer, lambda tensor, *unused, **also_unused: tensor)
    model = timm.create_model("vit_huge_patch14_224", num_classes=45, weight_init="skip").cuda()
    model.compile(fullgraph=True)
    optimizer = OPTIMIZERS[args.optimizer](model.parameters())
    scaler = torch.amp.GradScaler("cuda", enabled=False)
    images, labels = torch.empty(args.batch, 3, 224, 224).pin_memory(), torch.zeros(args.batch, dtype=torch.int64)
    model.train()
    for step in range(args.steps):
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss = torch.nn.functional.cross_entropy(model(images.cuda()), labels.cuda())
        scaler.scale(loss).backward()
        set_rate(optimizer, 1e-4 * step / args.steps)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
    model.eval()
    with torch.no_grad(), torch.autocast("cuda", dtype=torch.bfloat16):
        model(images.cuda()).argmax(1).cpu()
    peaks.finish("torchao", "timm", "bitsandbytes")


main()
