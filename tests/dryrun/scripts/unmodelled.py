"""Calls what is not modelled: a work area of unpublished size, a recurrent network; and goes on."""

import torch

torch.fft.fft(torch.zeros(16, device="cuda", dtype=torch.complex64))
for kind, options in ((torch.nn.LSTM, {"bidirectional": True}), (torch.nn.GRU, {}), (torch.nn.LSTM, {"proj_size": 8})):
    layer = kind(32, 64, 2, batch_first=True, **options).cuda()
    layer(torch.randn(4, 7, 32, device="cuda"))[0].sum().backward()
    weights = sum(p.numel() for p in layer.parameters())
    assert layer._flat_weights[0].untyped_storage().nbytes() == 4 * weights
print('"went on"')
