"""A training script as Accelerate's users write it: a small Llama, evaluation with gathering, a saved checkpoint."""

import tempfile

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader
from transformers import LlamaConfig, LlamaForCausalLM, get_cosine_schedule_with_warmup

accelerator = Accelerator(gradient_accumulation_steps=2)
config = LlamaConfig(
    vocab_size=1024, hidden_size=256, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4, use_cache=False
)
model = LlamaForCausalLM(config)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
tokens = [{"input_ids": t, "labels": t} for t in torch.randint(0, 1024, (128, 128))]
train, evaluation = DataLoader(tokens, 2, shuffle=True), DataLoader(tokens[:32], 2)
schedule = get_cosine_schedule_with_warmup(optimizer, 2, 100)
model, optimizer, train, evaluation, schedule = accelerator.prepare(model, optimizer, train, evaluation, schedule)

model.train()
for batch in train:
    with accelerator.accumulate(model):
        loss = model(**batch).loss
        accelerator.backward(loss)
        if accelerator.sync_gradients:
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()

model.eval()
losses = []
with torch.no_grad():
    for batch in evaluation:
        losses.append(accelerator.gather_for_metrics(model(**batch).loss.repeat(2)))
accelerator.wait_for_everyone()
with tempfile.TemporaryDirectory() as folder:
    accelerator.save_state(folder)
    accelerator.unwrap_model(model).save_pretrained(
        folder, is_main_process=accelerator.is_main_process, state_dict=accelerator.get_state_dict(model)
    )
accelerator.print(
    f"{accelerator.distributed_type} rank {accelerator.process_index} of {accelerator.num_processes} on "
    f"{accelerator.device}: {torch.cat(losses).numel()} losses, {torch.cuda.max_memory_allocated() >> 20} MiB"
)
accelerator.end_training()
