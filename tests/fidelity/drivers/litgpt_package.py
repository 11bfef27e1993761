"""litgpt of 2024 (the package): litgpt finetune_full / finetune_lora with the settings of config_hub.

Gradients are accumulated over two micro-batches at most: more of them add to the same memory. The weights are untouched
memory, the tokenizer is a stand-in, and Alpaca2k is random tokens: of four micro-batches, two in a row have a sample of
max_seq_length, the others are of typical length. Real epochs end in the same peak: every batch that has the longest
sample is padded to it, there are such batches after the first optimizer step, and among thousands two follow each other
(the loop still holds the logits of the last batch, and bitsandbytes' layers their inputs, while the next is computed).
"""

import argparse
import importlib
import inspect
import pathlib
import sys
import tempfile

parser = argparse.ArgumentParser()
parser.add_argument("--script", choices=["lora", "full"], required=True)
parser.add_argument("--model", required=True)
parser.add_argument("--longest", type=int, required=True)
parser.add_argument("--micro_batch", type=int, required=True)
parser.add_argument("--accumulation", type=int, required=True)
parser.add_argument("--devices", type=int, default=1)
parser.add_argument("--quantize")
parser.add_argument("--rank", type=int)
parser.add_argument("--alpha", type=int, default=16)
parser.add_argument("--dropout", type=float, default=0.05)
parser.add_argument("--targets", default="query,value")
args = parser.parse_args()
args.accumulation = min(args.accumulation, 2)
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import one_rank  # noqa: E402
import peaks  # noqa: E402
import torch  # noqa: E402
from litgpt.config import Config  # noqa: E402
from litgpt.data import DataModule  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402


class Trained(Exception):
    """The figure was printed after training, before the final evaluation."""


class Tokenizer:
    eos_id = bos_id = pad_id = None

    def __init__(self, *unused):
        pass

    def encode(self, text, device=None, **unused):
        return torch.full((45,), 5, dtype=torch.int, device=device)

    def decode(self, tokens):
        return f"{len(tokens)} tokens"


class Tokens(DataModule):
    """Samples in the order in which they are taken, and the package's own way to make batches of them."""

    def connect(self, tokenizer=None, batch_size=1, max_seq_length=None):
        self.batch_size = batch_size
        self.prompt_style = type("Style", (), {"apply": staticmethod(lambda prompt, **unused: prompt)})

    def _loader(self, lengths):
        collate = importlib.import_module("litgpt.data.base").get_sft_collate_fn(max_seq_length=args.longest)
        items = [{name: torch.full((n,), 7) for name in ("input_ids", "labels")} for n in lengths]
        return DataLoader(items, batch_size=self.batch_size, shuffle=False, collate_fn=collate)

    def train_dataloader(self):
        lengths = [70 + 37 * n % 240 for n in range(self.batch_size * args.accumulation * args.devices * 4)]
        for micro_batch in range(len(lengths) // self.batch_size):
            if micro_batch % 4 < 2:
                lengths[micro_batch * self.batch_size] = args.longest
        return self._loader(lengths)

    def val_dataloader(self):
        return self._loader([70 + 37 * n % 240 for n in range(self.batch_size * 8)])


def main():
    if args.devices > 1:
        one_rank.pretend(args.devices)
    script = importlib.import_module(f"litgpt.finetune.{args.script}")
    from litgpt.args import EvalArgs, TrainArgs

    script.Tokenizer = Tokenizer
    for check in ("check_valid_checkpoint_dir", "check_nvlink_connectivity"):
        setattr(script, check, lambda *unused: None)
    # Sampling looks at values; which word is drawn for the validation's example decides no allocation.
    torch.multinomial = lambda p, num_samples, **unused: torch.zeros(num_samples, dtype=torch.int64, device=p.device)
    base, config = importlib.import_module("litgpt.model"), Config.from_name(args.model)

    def weights():
        with torch.device("meta"):
            model = base.GPT(config)
        return peaks.untouched_weights(model, torch.bfloat16)

    peaks.serve_weights(weights, importlib.import_module("litgpt.utils"))
    fit = script.fit

    def fit_and_stop(*a, **k):
        fit(*a, **k)
        raise Trained

    script.fit = fit_and_stop
    settings = {"devices": args.devices, "precision": "bf16-true", "data": Tokens()}
    if args.script == "lora":
        targets = args.targets.split(",")
        settings |= {"lora_r": args.rank, "lora_alpha": args.alpha, "lora_dropout": args.dropout}
        settings |= {"quantize": args.quantize}
        settings |= {f"lora_{n}": n in targets for n in ("query", "key", "value", "projection", "mlp", "head")}
    settings["train"] = TrainArgs(
        save_interval=1000,
        log_interval=1,
        global_batch_size=args.micro_batch * args.accumulation * args.devices,
        micro_batch_size=args.micro_batch,
        lr_warmup_steps=10,
        epochs=1,
        max_seq_length=args.longest,
    )
    settings["eval"] = EvalArgs(interval=2, max_new_tokens=10, max_iters=4)
    if "optimizer" in inspect.signature(script.setup).parameters:
        settings["optimizer"] = {"class_path": "torch.optim.AdamW", "init_args": {"lr": 2e-4, "weight_decay": 0.0}}
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = pathlib.Path(folder) / args.model
        checkpoint.mkdir()
        for name in ("lit_model.pth", "tokenizer.json", "tokenizer_config.json"):
            (checkpoint / name).touch()
        importlib.import_module("litgpt.utils").save_config(config, checkpoint)
        try:
            script.setup(checkpoint_dir=checkpoint, out_dir=pathlib.Path(folder) / "out", **settings)
        except Trained:
            peaks.finish("litgpt", "lightning", "bitsandbytes")


main()
