"""Architectures in the sizes in which people train them: fields of a Hugging Face config.json (transformers 5), as the
checkpoints that are named have them. Drawn runs shrink some of them."""


def llama(name, hidden, inner, layers, heads, kv_heads, vocab, **more):
    return name, {
        "model_type": "llama",
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": vocab,
        **more,
    }


def like(kind, shape, **more):
    name, fields = shape
    return name, {**fields, "model_type": kind, **more}


def gpt2(name, hidden, layers, heads):
    return name, {"model_type": "gpt2", "n_embd": hidden, "n_layer": layers, "n_head": heads, "n_positions": 8192}


def encoder(name, kind, head, hidden, layers, heads, **more):
    return name, {
        "model_type": kind,
        "architectures": [head],
        "hidden_size": hidden,
        "intermediate_size": 4 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        **more,
    }


def bert(name, head, hidden, layers, heads):
    return encoder(name, "bert", f"Bert{head}", hidden, layers, heads, vocab_size=30522, max_position_embeddings=512)


def roberta(name, head, hidden, layers, heads):
    more = {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1, "pad_token_id": 1}
    return encoder(name, "roberta", f"Roberta{head}", hidden, layers, heads, **more)


def vit(name, hidden, layers, heads, patch):
    head = {"image_size": 224, "patch_size": patch, "num_channels": 3, "num_labels": 1000}
    return encoder(name, "vit", "ViTForImageClassification", hidden, layers, heads, **head)


TIED = {"tie_word_embeddings": True}

SHAPES = [
    llama("SmolLM2-135M", 576, 1536, 30, 9, 3, 49152, **TIED),
    llama("SmolLM2-360M", 960, 2560, 32, 15, 5, 49152, **TIED),
    llama("TinyLlama-1.1B", 2048, 5632, 22, 32, 4, 32000),
    llama("SmolLM2-1.7B", 2048, 8192, 24, 32, 32, 49152, **TIED),
    llama("Llama-3.2-1B", 2048, 8192, 16, 32, 8, 128256, head_dim=64, **TIED),
    llama("Llama-3.2-3B", 3072, 8192, 28, 24, 8, 128256, head_dim=128, **TIED),
    llama("Llama-2-7B", 4096, 11008, 32, 32, 32, 32000),
    llama("Llama-3.1-8B", 4096, 14336, 32, 32, 8, 128256),
    llama("Llama-2-13B", 5120, 13824, 40, 40, 40, 32000),
    llama("Llama-3.3-70B", 8192, 28672, 80, 64, 8, 128256),
    like("mistral", llama("Mistral-7B", 4096, 14336, 32, 32, 8, 32000), sliding_window=4096),
    like("mistral", llama("Mistral-7B-v0.3", 4096, 14336, 32, 32, 8, 32768), sliding_window=None),
    like("qwen2", llama("Qwen2.5-0.5B", 896, 4864, 24, 14, 2, 151936, **TIED)),
    like("qwen2", llama("Qwen2.5-1.5B", 1536, 8960, 28, 12, 2, 151936, **TIED)),
    like("qwen2", llama("Qwen2.5-7B", 3584, 18944, 28, 28, 4, 152064)),
    like("qwen2", llama("Qwen2.5-32B", 5120, 27648, 64, 40, 8, 152064)),
    like("qwen3", llama("Qwen3-0.6B", 1024, 3072, 28, 16, 8, 151936, head_dim=128, **TIED)),
    like("qwen3", llama("Qwen3-4B", 2560, 9728, 36, 32, 8, 151936, head_dim=128, **TIED)),
    like("qwen3", llama("Qwen3-8B", 4096, 12288, 36, 32, 8, 151936, head_dim=128)),
    like("qwen3", llama("Qwen3-32B", 5120, 25600, 64, 64, 8, 151936, head_dim=128)),
    gpt2("GPT-2", 768, 12, 12),
    gpt2("GPT-2 medium", 1024, 24, 16),
    gpt2("GPT-2 large", 1280, 36, 20),
    gpt2("GPT-2 XL", 1600, 48, 25),
    bert("BERT base", "ForMaskedLM", 768, 12, 12),
    bert("BERT large", "ForMaskedLM", 1024, 24, 16),
    bert("BERT large, classes", "ForSequenceClassification", 1024, 24, 16),
    roberta("RoBERTa base", "ForMaskedLM", 768, 12, 12),
    roberta("RoBERTa large, classes", "ForSequenceClassification", 1024, 24, 16),
    vit("ViT base", 768, 12, 12, 16),
    vit("ViT large", 1024, 24, 16, 16),
    vit("ViT huge", 1280, 32, 16, 14),
]
