"""BERT-large under transformers' Trainer, as in its guide to one GPU (2022): 512 random sequences of 512 tokens.

The guide printed what NVML showed for the whole card after one epoch; here fewer steps of the same shapes are done,
after which PyTorch keeps what it would keep then.
"""

import argparse
import pathlib
import sys
import tempfile

parser = argparse.ArgumentParser()
parser.add_argument("--micro_batch", type=int, required=True)
parser.add_argument("--accumulation", type=int, required=True)
parser.add_argument("--checkpointing", action="store_true")
parser.add_argument("--fp16", action="store_true")
parser.add_argument("--optimizer", choices=["adamw", "adafactor", "adam8bit"], default="adamw")
parser.add_argument("--steps", type=int, default=6)
args = parser.parse_args()
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import numpy  # noqa: E402
import peaks  # noqa: E402
import torch  # noqa: E402
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments  # noqa: E402

LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}


class Sequences(torch.utils.data.Dataset):
    def __init__(self, count):
        self.tokens = numpy.random.default_rng(0).integers(100, 30000, (count, 512))

    def __len__(self):
        return len(self.tokens)

    def __getitem__(self, index):
        return {"input_ids": torch.as_tensor(self.tokens[index]), "labels": torch.tensor(0)}


def adam8bit(model, settings):
    """The guide's own way: 8-bit states, weight decay for all but biases and layer norms."""
    import bitsandbytes
    from transformers.trainer_pt_utils import get_parameter_names

    decayed = [n for n in get_parameter_names(model, [torch.nn.LayerNorm]) if "bias" not in n]
    named = list(model.named_parameters())
    groups = [
        {"params": [p for n, p in named if n in decayed], "weight_decay": settings.weight_decay},
        {"params": [p for n, p in named if n not in decayed], "weight_decay": 0.0},
    ]
    betas = (settings.adam_beta1, settings.adam_beta2)
    return bitsandbytes.optim.Adam8bit(groups, betas=betas, eps=settings.adam_epsilon, lr=settings.learning_rate)


def main():
    torch.ones((1, 1)).to("cuda")
    model = BertForSequenceClassification(BertConfig(**LARGE)).to("cuda")
    weights = torch.cuda.memory_reserved()
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            output_dir=folder,
            max_steps=args.steps,
            log_level="error",
            report_to="none",
            per_device_train_batch_size=args.micro_batch,
            gradient_accumulation_steps=args.accumulation,
            gradient_checkpointing=args.checkpointing,
            fp16=args.fp16,
            **({"optim": "adafactor"} if args.optimizer == "adafactor" else {}),
        )
        optimizers = (adam8bit(model, settings), None) if args.optimizer == "adam8bit" else (None, None)
        Trainer(model=model, args=settings, train_dataset=Sequences(512), optimizers=optimizers).train()
    peaks.finish("transformers", "bitsandbytes", reserved_by_weights=weights)


main()
