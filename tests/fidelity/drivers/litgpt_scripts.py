"""lit-gpt of 2023 and early 2024: finetune/{lora,adapter,adapter_v2}.py of a checkout, with the published settings.

As its users did, the settings at the head of the script are changed; the rest runs as it is. Weights, tokenizer and
the Alpaca data set are not there: the weights are untouched memory, the tokenizer is a stand-in (it encodes one prompt
of the validation), and the data set is random tokens, one sample of the published longest length among samples of
typical length. The script takes the longest sample first, and draws at random afterwards. How long the longest of the
published run's later samples was is not known, so two peaks are told: after two steps with later samples of typical
length, and, as allocated_if_longest_again, after a third step whose samples are all the longest.
"""

import argparse
import importlib
import importlib.util
import pathlib
import sys
import tempfile

parser = argparse.ArgumentParser()
parser.add_argument("--checkout", required=True)
parser.add_argument("--script", choices=["lora", "adapter", "adapter_v2"], required=True)
parser.add_argument("--model", required=True)
parser.add_argument("--longest", type=int, required=True)
parser.add_argument("--micro_batch", type=int, required=True)
parser.add_argument("--devices", type=int, default=1)
parser.add_argument("--quantize")
args = parser.parse_args()
sys.path[:0] = [args.checkout, str(pathlib.Path(__file__).resolve().parent)]

import one_rank  # noqa: E402
import peaks  # noqa: E402
import torch  # noqa: E402


class Tokenizer:
    """Encodes any text as 45 tokens, about the length of the script's one prompt."""

    eos_id = None

    def __init__(self, *unused):
        pass

    def encode(self, text, device=None, **unused):
        return torch.full((45,), 5, dtype=torch.int, device=device)

    def decode(self, tokens):
        return f"{len(tokens)} tokens"


ACCUMULATION, STEPS = 3, 2  # three: under FSDP, gradients stay whole between the first and the last micro-batch
LATER = 300  # tokens, at most, of a sample of typical length


class LongestAgain:
    """The script's get_batch; after the steps that count, it takes the longest sample every time."""

    def __init__(self, script, training):
        self.get_batch, self.training = script.get_batch, training
        self.number, self.longest, self.figures = 0, None, None

    def __call__(self, fabric, data, longest_seq_ix=None):
        if len(data) == self.training:
            self.longest = self.longest if longest_seq_ix is None else longest_seq_ix
            if self.number == ACCUMULATION * STEPS:
                self.figures = peaks.figures()
            if self.number >= ACCUMULATION * STEPS:
                longest_seq_ix = self.longest
            self.number += 1
        return self.get_batch(fabric, data, longest_seq_ix)


def samples(longest, count):
    lengths = [longest] + [60 + 37 * n % (LATER - 60) for n in range(count - 1)]
    return [{"input_ids": torch.full((n,), 7, dtype=torch.int), "labels": torch.full((n,), 7)} for n in lengths]


def main():
    if args.devices > 1:
        one_rank.pretend(args.devices)
    path = pathlib.Path(args.checkout) / "finetune" / f"{args.script}.py"
    specification = importlib.util.spec_from_file_location("finetune_script", path)
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)
    utils = importlib.import_module("lit_gpt.utils")
    script.devices, script.micro_batch_size = args.devices, args.micro_batch
    script.batch_size = args.micro_batch * ACCUMULATION  # published: 128, more micro-batches into the same gradients
    script.gradient_accumulation_iters = ACCUMULATION
    script.max_iters = (STEPS + 1) * ACCUMULATION
    script.get_batch = batches = LongestAgain(script, training=400)
    script.eval_iters, script.eval_max_new_tokens = 4, 10  # published: 100 of each, of the same sizes
    script.Tokenizer = Tokenizer
    script.check_valid_checkpoint_dir = lambda folder: None
    for name in [
        n for n, value in vars(script).items() if n.startswith("save_") and callable(value)
    ]:  # comes after the figure was printed
        setattr(script, name, lambda *unused: None)
    base = importlib.import_module("lit_gpt.model")

    def weights():
        with torch.device("meta"):
            model = base.GPT(base.Config.from_name(args.model))
        return peaks.untouched_weights(model, torch.bfloat16)

    # Sampling looks at values; which word is drawn for the validation's example decides no allocation.
    torch.multinomial = lambda p, num_samples, **unused: torch.zeros(num_samples, dtype=torch.int64, device=p.device)
    peaks.serve_weights(weights, utils, script)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        torch.save(samples(args.longest, 400), folder / "train.pt")
        torch.save(samples(LATER, 100), folder / "test.pt")
        checkpoint = folder / "checkpoints" / "x" / args.model
        checkpoint.mkdir(parents=True)
        (checkpoint / "lit_model.pth").touch()
        torch.set_float32_matmul_precision("high")
        quantize = {"quantize": args.quantize} if args.quantize else {}
        script.setup(folder, checkpoint, folder / "out", precision="bf16-true", **quantize)
    again = peaks.figures()["allocated"]
    peaks.finish("lightning", "bitsandbytes", **batches.figures, allocated_if_longest_again=again)


main()
