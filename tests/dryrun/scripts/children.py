"""A process that uses CUDA, with children that must stay inert, and a fork that must fail clearly."""

import json
import os
import subprocess
import sys

quiet = subprocess.run([sys.executable, "-c", "print('child')"], capture_output=True, text=True, check=True)
import torch  # noqa: E402  (the child above starts before any torch)

torch.zeros(1, device="cuda")
read, write = os.pipe()
if os.fork() == 0:
    try:
        torch.zeros(1, device="cuda")
        text = "worked"
    except Exception as error:
        text = str(error)
    os.write(write, text.encode())
    os._exit(0)
os.wait()
print(json.dumps({"quiet": [quiet.stdout, quiet.stderr], "forked": os.read(read, 10000).decode()}))
