"""Fine-tunes LoRA adapters on a Llama of 8 billion parameters, as a script of yours might. Needs transformers and peft.

    vramwise dryrun --gpu rtx-4090 -- python examples/lora.py --bs 4

tells what it takes of a card, without one. Weights are random and tokens are made up: memory does not depend on them.
"""

import argparse

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

parser = argparse.ArgumentParser()
parser.add_argument("--bs", type=int, default=1, help="sequences a step")
parser.add_argument("--len", type=int, default=1024, help="tokens a sequence")
parser.add_argument("--checkpointing", action="store_true")
options = parser.parse_args()

config = LlamaConfig(
    vocab_size=128256,
    hidden_size=4096,
    intermediate_size=14336,
    num_hidden_layers=32,
    num_attention_heads=32,
    num_key_value_heads=8,
    max_position_embeddings=8192,
)
with torch.device("cuda"):
    torch.set_default_dtype(torch.bfloat16)
    model = LlamaForCausalLM(config)
model = get_peft_model(model, LoraConfig(r=16, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"]))
if options.checkpointing:
    model.gradient_checkpointing_enable()
    model.enable_input_require_grads()
model.train()

optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
data = torch.utils.data.DataLoader(torch.randint(0, 128256, (64, options.len)), batch_size=options.bs)
for batch in data:
    batch = batch.cuda()
    model(input_ids=batch, labels=batch).loss.backward()
    optimizer.step()
    optimizer.zero_grad()
