"""Three training steps of Llama-3.1-8B with random weights, for bench/dryrun; or only a part of that.

llama_steps.py build     imports torch and transformers and builds the model without memory (meta device)
llama_steps.py train     three steps on the card: what a dry run is given
llama_steps.py tracker   three steps under fake tensors with PyTorch's MemTracker; prints its peak. Without a GPU the
                         fake tensors are the CPU's: PyTorch's backward pass asks for a real one of the device's kind
"""

import sys

import torch
from transformers import LlamaConfig, LlamaForCausalLM

STEPS, BATCH, TOKENS = 3, 1, 2048
LLAMA = {  # config.json of Llama-3.1-8B
    "vocab_size": 128256,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131072,
    "rope_theta": 500000.0,
}


def build(device):
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(device):
        return LlamaForCausalLM(LlamaConfig(**LLAMA))


def step(model, optimizer, ids):
    model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def train():
    model = build("cuda")
    optimizer = torch.optim.AdamW(model.parameters())
    ids = torch.zeros(BATCH, TOKENS, dtype=torch.long, device="cuda")
    for _ in range(STEPS):
        step(model, optimizer, ids)


def track():
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.distributed._tools.mem_tracker import MemTracker

    device = "cuda" if torch.cuda.is_available() else "cpu"
    with FakeTensorMode():
        model = build(device)
        optimizer = torch.optim.AdamW(model.parameters(), foreach=True)
        ids = torch.zeros(BATCH, TOKENS, dtype=torch.long, device=device)
        tracker = MemTracker()
        tracker.track_external(model, optimizer, ids)
        with tracker:
            for _ in range(STEPS):
                step(model, optimizer, ids)
                tracker.reset_mod_stats()  # it takes one step at a time
        peaks = tracker.get_tracker_snapshot("peak")
        print(max(kinds["Total"] for kinds in peaks.values()))


if __name__ == "__main__":
    {"build": lambda: build("meta"), "train": train, "tracker": track}[sys.argv[1]]()
