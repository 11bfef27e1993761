"""The decoder once more, in ordinary PyTorch: what the trainer must agree with, and what it is measured against.

Written from the definition of Llama's blocks (transformers names), not from src/nn. Nothing here is made fast or small
on purpose, except the loss, which must not hold full logits either if speed and memory are to be compared.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn


def rotate_half(x):
    first, second = x.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.n_heads, self.n_kv_heads, self.head_dim = config["n_heads"], config["n_kv_heads"], config["head_dim"]
        hidden = config["hidden_size"]
        self.q_proj = nn.Linear(hidden, self.n_heads * self.head_dim, bias=False)
        self.k_proj = nn.Linear(hidden, self.n_kv_heads * self.head_dim, bias=False)
        self.v_proj = nn.Linear(hidden, self.n_kv_heads * self.head_dim, bias=False)
        self.o_proj = nn.Linear(self.n_heads * self.head_dim, hidden, bias=False)

    def forward(self, x, cos, sin):
        batch, seq, _ = x.shape
        q = self.q_proj(x).view(batch, seq, self.n_heads, self.head_dim).transpose(1, 2)
        k = self.k_proj(x).view(batch, seq, self.n_kv_heads, self.head_dim).transpose(1, 2)
        v = self.v_proj(x).view(batch, seq, self.n_kv_heads, self.head_dim).transpose(1, 2)
        q = q * cos + rotate_half(q) * sin
        k = k * cos + rotate_half(k) * sin
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=self.n_heads != self.n_kv_heads)
        return self.o_proj(mixed.transpose(1, 2).reshape(batch, seq, -1))


class FeedForward(nn.Module):
    def __init__(self, config):
        super().__init__()
        hidden, inner = config["hidden_size"], config["intermediate_size"]
        self.gate_proj = nn.Linear(hidden, inner, bias=False)
        self.up_proj = nn.Linear(hidden, inner, bias=False)
        self.down_proj = nn.Linear(inner, hidden, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.input_layernorm = nn.RMSNorm(config["hidden_size"], eps=config["rms_norm_eps"])
        self.self_attn = Attention(config)
        self.post_attention_layernorm = nn.RMSNorm(config["hidden_size"], eps=config["rms_norm_eps"])
        self.mlp = FeedForward(config)

    def forward(self, x, cos, sin):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Blocks(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embed_tokens = nn.Embedding(config["vocab_size"], config["hidden_size"])
        self.layers = nn.ModuleList(Block(config) for _ in range(config["n_layers"]))
        self.norm = nn.RMSNorm(config["hidden_size"], eps=config["rms_norm_eps"])


class ChunkedLoss(torch.autograd.Function):
    """Sum of the cross entropy of x @ table.T, a chunk of tokens at a time; gradients are formed with the logits."""

    @staticmethod
    def forward(ctx, x, table, targets, chunk):
        loss = x.new_zeros((), dtype=torch.float32)
        dx = torch.empty_like(x)
        dtable = torch.zeros_like(table, dtype=torch.float32)
        for begin in range(0, x.shape[0], chunk):
            part = slice(begin, begin + chunk)
            log_probability = F.log_softmax((x[part] @ table.T).float(), dim=-1)
            loss += F.nll_loss(log_probability, targets[part], ignore_index=-100, reduction="sum")
            dlogits = log_probability.exp_()
            counted = targets[part] != -100
            index = targets[part].clamp(min=0).unsqueeze(1)
            dlogits.scatter_add_(1, index, torch.full_like(index, -1, dtype=dlogits.dtype))
            dlogits = dlogits.mul_(counted.unsqueeze(1)).to(x.dtype)
            dx[part] = dlogits @ table
            dtable += dlogits.T @ x[part]
        ctx.save_for_backward(dx, dtable.to(table.dtype))
        return loss

    @staticmethod
    def backward(ctx, gradient):
        dx, dtable = ctx.saved_tensors
        return dx * gradient, dtable * gradient, None, None


class PlainDecoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.model = Blocks(config)
        if not config["tie_embeddings"]:
            self.lm_head = nn.Linear(config["hidden_size"], config["vocab_size"], bias=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                into_residual = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * config["n_layers"]) if into_residual else 0.02)

    def output_table(self):
        return self.model.embed_tokens.weight if self.config["tie_embeddings"] else self.lm_head.weight

    def hidden(self, ids):
        head_dim = self.config["head_dim"]
        frequencies = 1.0 / self.config["rope_theta"] ** (torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
        angles = torch.outer(torch.arange(ids.shape[1], dtype=torch.float32), frequencies)
        angles = torch.cat((angles, angles), dim=-1)
        x = self.model.embed_tokens(ids)
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        for layer in self.model.layers:
            x = layer(x, cos, sin)
        return self.model.norm(x)

    def loss(self, ids, targets, chunk=None):
        """Sum of the cross entropy; with `chunk`, by ChunkedLoss."""
        x = self.hidden(ids).flatten(0, 1)
        if chunk is not None:
            return ChunkedLoss.apply(x, self.output_table(), targets.flatten(), chunk)
        return F.cross_entropy(
            (x @ self.output_table().T).float(), targets.flatten(), ignore_index=-100, reduction="sum"
        )

    def parameter_groups(self, weight_decay):
        """For AdamW: matrices decay, norms don't."""
        parameters = list(self.parameters())
        return [
            {"params": [p for p in parameters if p.dim() > 1], "weight_decay": weight_decay},
            {"params": [p for p in parameters if p.dim() == 1], "weight_decay": 0.0},
        ]
