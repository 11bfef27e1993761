"""What several cards look like to PyTorch and to NVML; prints one JSON object."""

import ctypes
import json

import torch

count = torch.cuda.device_count()
nvml = ctypes.CDLL("libnvidia-ml.so.1")
assert nvml.nvmlInit_v2() == 0
nvml_count = ctypes.c_uint()
nvml.nvmlDeviceGetCount_v2(ctypes.byref(nvml_count))
nvml_cards = []
for i in range(nvml_count.value):
    handle, name, memory = ctypes.c_void_p(), ctypes.create_string_buffer(96), (ctypes.c_ulonglong * 3)()
    assert nvml.nvmlDeviceGetHandleByIndex_v2(i, ctypes.byref(handle)) == 0
    nvml.nvmlDeviceGetName(handle, name, 96)
    nvml.nvmlDeviceGetMemoryInfo(handle, memory)
    nvml_cards.append({"name": name.value.decode(), "total": memory[0]})

x = torch.arange(5, device="cuda:0")
x.copy_(torch.arange(5))
moved = x.to("cuda:1").to("cuda:0").tolist()
large = torch.empty(1 << 30, dtype=torch.uint8, device="cuda:1")
try:
    torch.zeros(3, device="cuda:2") + 1
    old = "worked"
except RuntimeError as error:
    old = str(error)
print(
    json.dumps(
        {
            "names": [torch.cuda.get_device_name(i) for i in range(count)],
            "totals": [torch.cuda.get_device_properties(i).total_memory for i in range(count)],
            "uuids": [str(getattr(torch.cuda.get_device_properties(i), "uuid", "")) for i in range(count)],
            "free": [torch.cuda.mem_get_info(i)[0] for i in range(count)],
            "nvml": nvml_cards,
            "moved": moved,
            "old": old,
            "architectures": torch.cuda.get_arch_list(),
        }
    )
)
