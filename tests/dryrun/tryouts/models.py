"""Trainings of many kinds of model in one process, three steps each; prints one JSON object a case.

models.py [--expandable] [NAME…]    The models are small ones of their architecture. A case whose library is not
installed is named as skipped; one that raises ends the script with 1 when all were tried.
"""

import gc
import json
import os
import sys
import tempfile
import time
import traceback
from functools import partial

if "--expandable" in sys.argv:
    os.environ["PYTORCH_CUDA_ALLOC_CONF"] = "expandable_segments:True"

import torch
import transformers as tf
from torch import nn

CASES = []
MIB = 1 << 20


def case(function):
    CASES.append(function)
    return function


def run(function):
    time.sleep(0.05)  # the autograd engine's thread lets go of the graph before
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    begin = time.perf_counter()
    found = {"case": function.__name__}
    try:
        found.update(function() or {})
    except ImportError as error:
        found["skipped"] = str(error)
    except Exception:
        traceback.print_exc()
        found["failed"] = True
    found["allocated_mib"] = torch.cuda.max_memory_allocated() // MIB
    found["reserved_mib"] = torch.cuda.max_memory_reserved() // MIB
    found["seconds"] = round(time.perf_counter() - begin, 2)
    print(json.dumps(found), flush=True)
    return "failed" not in found


def train(loss_of, optimizer, autocast=None, scaler=None):
    for _ in range(3):
        with torch.autocast("cuda", autocast or torch.bfloat16, enabled=autocast is not None):
            loss = loss_of()
        if scaler is None:
            loss.backward()
            optimizer.step()
        else:
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        optimizer.zero_grad()


def tokens(batch, length):
    return torch.randint(0, 1000, (batch, length)).cuda()


def train_language_model(model, batch=2, length=256, **options):
    x = tokens(batch, length)
    parameters = [p for p in model.parameters() if p.requires_grad]
    train(lambda: model(input_ids=x, labels=x).loss, torch.optim.AdamW(parameters), **options)


def train_classifier(model, x, **options):
    labels = torch.zeros(len(x), dtype=torch.long).cuda()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    train(lambda: model(x, labels=labels).loss, optimizer, **options)


def llama(**changes):
    shape = {"hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 4, "num_attention_heads": 8}
    shape |= {"num_key_value_heads": 4, "vocab_size": 4000}
    return tf.LlamaForCausalLM(tf.LlamaConfig(**(shape | changes)))


@case
def bert_fp16_with_scaler():
    model = tf.BertForMaskedLM(tf.BertConfig(num_hidden_layers=4)).cuda()
    train_language_model(model, 4, 128, autocast=torch.float16, scaler=torch.amp.GradScaler("cuda"))


@case
def gpt2_bf16():
    train_language_model(tf.GPT2LMHeadModel(tf.GPT2Config(n_layer=4)).cuda(), autocast=torch.bfloat16)


@case
def llama_plain_and_checkpointed():
    peaks = {}
    for checkpointed in (False, True):
        model = llama().to("cuda", torch.bfloat16).train()
        if checkpointed:
            model.gradient_checkpointing_enable()
        torch.cuda.reset_peak_memory_stats()
        train_language_model(model, 4, 512)
        peaks[checkpointed] = torch.cuda.max_memory_allocated()
        del model
        gc.collect()
    assert peaks[True] < peaks[False] * 0.8
    return {"saved_mib": (peaks[False] - peaks[True]) // MIB}


@case
def selective_checkpointing():
    from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

    kept = [torch.ops.aten.mm.default, torch.ops.aten.addmm.default]
    block = nn.Sequential(nn.Linear(1024, 4096), nn.GELU(), nn.Linear(4096, 1024)).cuda()
    x = torch.randn(2048, 1024, device="cuda", requires_grad=True)
    contexts = partial(create_selective_checkpoint_contexts, kept)
    optimizer = torch.optim.Adam(block.parameters())
    train(lambda: checkpoint(block, x, use_reentrant=False, context_fn=contexts).sum(), optimizer)


@case
def qwen3():
    shape = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = tf.Qwen3Config(**shape, num_key_value_heads=2, head_dim=64, vocab_size=4000)
    train_language_model(tf.Qwen3ForCausalLM(config).cuda())


@case
def mixtral():
    shape = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = tf.MixtralConfig(**shape, num_key_value_heads=2, num_local_experts=4, vocab_size=4000)
    train_language_model(tf.MixtralForCausalLM(config).cuda())


@case
def vit():
    model = tf.ViTForImageClassification(tf.ViTConfig(num_hidden_layers=4)).cuda()
    train_classifier(model, torch.randn(4, 3, 224, 224, device="cuda"), autocast=torch.float16)


@case
def resnet50():
    model = tf.ResNetForImageClassification(tf.ResNetConfig()).cuda()
    train_classifier(model, torch.randn(8, 3, 224, 224, device="cuda"))


@case
def resnet50_channels_last_benchmarked():
    torch.backends.cudnn.benchmark = True
    model = tf.ResNetForImageClassification(tf.ResNetConfig()).cuda().to(memory_format=torch.channels_last)
    x = torch.randn(8, 3, 224, 224, device="cuda").to(memory_format=torch.channels_last)
    train_classifier(model, x, autocast=torch.float16, scaler=torch.amp.GradScaler("cuda"))
    torch.backends.cudnn.benchmark = False


@case
def diffusion_unet():
    from diffusers import UNet2DConditionModel

    shape = {"sample_size": 32, "block_out_channels": (64, 128, 128, 128), "layers_per_block": 1}
    model = UNet2DConditionModel(**shape, cross_attention_dim=128, attention_head_dim=8, norm_num_groups=16).cuda()
    x, text = torch.randn(2, 4, 32, 32, device="cuda"), torch.randn(2, 77, 128, device="cuda")
    times = torch.tensor([3, 5]).cuda()
    train(lambda: model(x, times, text).sample.square().mean(), torch.optim.AdamW(model.parameters()))


@case
def lora():
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(llama().to(torch.bfloat16), LoraConfig(r=8, target_modules=["q_proj", "v_proj"]))
    train_language_model(model.cuda())


@case
def qlora_nf4():
    import bitsandbytes as bnb
    from peft import LoraConfig, get_peft_model

    model = llama().to(torch.bfloat16)
    for name, layer in list(model.named_modules()):
        if not isinstance(layer, nn.Linear) or name == "lm_head":
            continue
        small = bnb.nn.Linear4bit(
            layer.in_features, layer.out_features, bias=False, compute_dtype=torch.bfloat16, quant_type="nf4"
        )
        small.weight = bnb.nn.Params4bit(layer.weight.data, requires_grad=False, quant_type="nf4", module=small)
        owner, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(owner), attribute, small)
    model = get_peft_model(model.cuda(), LoraConfig(r=8, target_modules=["q_proj", "v_proj"]))
    train_language_model(model.cuda())


@case
def bitsandbytes_optimizers():
    import bitsandbytes as bnb

    for kind in (bnb.optim.AdamW8bit, bnb.optim.PagedAdamW32bit):
        model = nn.Sequential(nn.Linear(1024, 4096), nn.ReLU(), nn.Linear(4096, 1024)).cuda()
        x = torch.randn(8, 1024, device="cuda")
        train(lambda model=model, x=x: model(x).sum(), kind(model.parameters()))


@case
def trainer_with_evaluation_and_checkpoint():
    rows = [{"input_ids": [1] * 64, "labels": [1] * 64}] * 16
    with tempfile.TemporaryDirectory() as folder:
        arguments = tf.TrainingArguments(
            folder, max_steps=3, per_device_train_batch_size=2, save_steps=3, eval_steps=3, eval_strategy="steps",
            report_to=[], logging_steps=1,
        )  # fmt: skip
        trainer = tf.Trainer(llama(num_hidden_layers=2), arguments, train_dataset=rows, eval_dataset=rows)
        trainer.train()
        return {"steps": trainer.state.global_step}


@case
def trl_sft():
    from datasets import Dataset
    from tokenizers import Tokenizer, models, pre_tokenizers
    from trl import SFTConfig, SFTTrainer

    words = Tokenizer(models.WordLevel({"<pad>": 0, "<end>": 1, "a": 2, "b": 3}, unk_token="<end>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = tf.PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<end>")
    rows = Dataset.from_dict({"text": ["a b " * (8 + row) for row in range(16)]})
    has_bf16 = torch.cuda.get_device_capability() >= (8, 0)  # trl's loss refuses bf16 below, on real cards too
    with tempfile.TemporaryDirectory() as folder:
        arguments = SFTConfig(
            folder, max_steps=3, per_device_train_batch_size=2, max_length=64, bf16=has_bf16, report_to=[],
            save_steps=3, dataset_text_field="text",
        )  # fmt: skip
        trainer = SFTTrainer(llama(num_hidden_layers=2), arguments, train_dataset=rows, processing_class=tokenizer)
        trainer.train()
        return {"steps": trainer.state.global_step}


@case
def compiled():
    for mode in ("default", "reduce-overhead"):
        torch.compiler.reset()
        model = nn.Sequential(nn.Linear(512, 2048), nn.GELU(), nn.Linear(2048, 512)).cuda()
        fast = torch.compile(model, mode=mode)
        x = torch.randn(64, 512, device="cuda")
        train(lambda fast=fast, x=x: fast(x).sum(), torch.optim.AdamW(model.parameters()))


if __name__ == "__main__":
    names = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    good = [run(function) for function in CASES if not names or function.__name__ in names]
    sys.exit(0 if all(good) else 1)
