"""Which way transformers goes by the masks and positions of a batch: on an emulated card, and on the CPU."""

import json
import sys

import torch
import vramwise_values
from transformers import LlamaConfig, LlamaForCausalLM, MixtralConfig, MixtralForCausalLM, masking_utils

BATCHES = {
    "plain": {},
    "full_mask": {"attention_mask": torch.ones(2, 256, dtype=torch.long)},
    "padded": {"attention_mask": (torch.arange(256)[None] < torch.tensor([[256], [100]])).long()},
    "positions": {"position_ids": torch.arange(256)[None].expand(2, -1).contiguous()},
    "packed": {"position_ids": torch.cat([torch.arange(96), torch.arange(160)])[None].expand(2, -1).contiguous()},
}


def decisions(device):
    """For each batch: whether sequences were found to be packed, and the mask that attention got."""
    config = LlamaConfig(
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=1,
        num_attention_heads=4,
        vocab_size=512,
        use_cache=False,
    )
    with torch.device(device):
        model = LlamaForCausalLM(config)
    seen = {}
    find = masking_utils.find_packed_sequence_indices

    def watched(positions):
        found = find(positions)
        seen["packed"] = found is not None
        return found

    def at_attention(module, arguments, options):
        mask = options.get("attention_mask")
        seen["mask"] = None if mask is None else [list(mask.shape), str(mask.dtype)]

    model.model.layers[0].self_attn.register_forward_pre_hook(at_attention, with_kwargs=True)
    masking_utils.find_packed_sequence_indices = watched
    result = {}
    ids = torch.randint(0, 512, (2, 256)).to(device)
    for name, batch in BATCHES.items():
        seen.clear()
        model(input_ids=ids, labels=ids, **{key: value.to(device) for key, value in batch.items()}).loss.backward()
        result[name] = dict(seen)
    masking_utils.find_packed_sequence_indices = find
    return result


def mixtral(implementation):
    config = MixtralConfig(
        hidden_size=512,
        intermediate_size=1024,
        num_hidden_layers=2,
        num_attention_heads=8,
        num_key_value_heads=4,
        vocab_size=2048,
        num_local_experts=8,
        num_experts_per_tok=2,
        use_cache=False,
    )
    config._experts_implementation = implementation
    with torch.device("cuda"):
        model = MixtralForCausalLM(config).bfloat16()
    rows = []
    linear = torch.nn.functional.linear

    def watched(states, weight, *rest):
        if weight.shape[0] == 2048 and weight.shape[1] == 512 and states.dim() == 2:
            rows.append(states.shape[0])
        return linear(states, weight, *rest)

    torch.nn.functional.linear = watched
    ids = torch.randint(0, 2048, (2, 1024)).cuda()
    torch.cuda.reset_peak_memory_stats()
    model(input_ids=ids).logits.sum().backward()
    torch.nn.functional.linear = linear
    return {"rows": rows, "peak": torch.cuda.max_memory_allocated()}


def main():
    note = vramwise_values.load(torch)
    assert note is None, note
    torch.manual_seed(0)
    found = {
        "card": decisions("cuda"),
        "cpu": decisions("cpu"),
        "experts": {name: mixtral(name) for name in ("eager", "grouped_mm")},
        "report": vramwise_values.report(),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    sys.exit(main())
