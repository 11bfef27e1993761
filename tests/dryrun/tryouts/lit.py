"""A Lightning script that starts its own ranks: `lit.py ddp|fsdp|ddp_spawn|deepspeed_stage_2|deepspeed_stage_3`."""

import sys

import lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Lit(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(nn.Linear(1024, 4096), nn.ReLU(), nn.Linear(4096, 1024))

    def training_step(self, batch, _):
        loss = self.model(batch[0]).square().mean()
        self.log("loss", loss, sync_dist=True)
        return loss

    def validation_step(self, batch, _):
        self.log("val_loss", self.model(batch[0]).square().mean(), sync_dist=True)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-4)


def loader():
    return DataLoader(TensorDataset(torch.randn(256, 1024)), 4)


if __name__ == "__main__":
    trainer = lightning.Trainer(
        devices=torch.cuda.device_count(),
        accelerator="gpu",
        strategy=sys.argv[1],
        precision="bf16-mixed",
        max_epochs=1,
        enable_progress_bar=False,
        default_root_dir=sys.argv[2] if len(sys.argv) > 2 else None,
    )
    trainer.fit(Lit(), loader(), loader())
    print(
        f"{sys.argv[1]}: rank {trainer.global_rank} of {trainer.world_size}, {trainer.global_step} steps, "
        f"{torch.cuda.max_memory_allocated() >> 20} MiB"
    )
