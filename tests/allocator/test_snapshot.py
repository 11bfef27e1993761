"""A snapshot that PyTorch wrote on the emulated device: the replay must reach the peaks that PyTorch counted."""

import json
import pathlib
import sys

import machine
import pytest

PROGRAM = """
import json, sys, torch

torch.cuda.memory._record_memory_history(max_entries=100_000)
model = torch.nn.Sequential(*[torch.nn.Linear(1024, 1024) for _ in range(4)]).cuda()
optimizer = torch.optim.AdamW(model.parameters())
for step in range(4):
    batch = torch.randn(256 + 64 * step, 1024, device="cuda")
    model(batch).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
torch.cuda.empty_cache()
shared = torch.empty(30 << 20, dtype=torch.uint8, device="cuda")
shared.record_stream(torch.cuda.Stream())
del shared
last = torch.empty(5 << 20, dtype=torch.uint8, device="cuda")
torch.cuda.memory._dump_snapshot(sys.argv[1])
stats = torch.cuda.memory_stats()
print(json.dumps({name: stats[f"{name}.all.peak"] for name in ("allocated_bytes", "reserved_bytes")}))
"""


@pytest.mark.parametrize(
    "settings",
    [
        "roundup_power2_divisions:4",
        pytest.param("", marks=pytest.mark.sweep),
        pytest.param("expandable_segments:True", marks=pytest.mark.sweep),
    ],
)
def test_the_replay_reaches_pytorchs_peaks(vramwise, tmp_path, settings):
    pytest.importorskip("torch")
    if machine.emulator() is None:
        pytest.skip("the emulator is not built here")
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    file = pathlib.Path(tmp_path) / "snapshot.pickle"
    env = {"PYTORCH_ALLOC_CONF": settings} if settings else {}
    peaks = machine.run([sys.executable, str(script), str(file)], ["ampere"], tmp_path, env).result
    shown = vramwise("snapshot", file, "--json")
    assert shown.returncode == 0, shown.stderr
    (device,) = json.loads(shown.stdout)["devices"]
    history = device["history"]
    assert history["replay"]["peak_allocated_bytes"] == peaks["allocated_bytes"]
    assert history["replay"]["peak_reserved_bytes"] == peaks["reserved_bytes"]
    assert history["recorded_peak_reserved_bytes"] == peaks["reserved_bytes"]
    assert history["emptied_caches"] == 1
