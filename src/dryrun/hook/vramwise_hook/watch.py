"""PyTorch's own counters with the step of each peak, and data loaders that end early."""

import ctypes
import json
import os


def install(torch):
    Watch(torch, int(os.environ.get("VRAMWISE_STEPS", "0")), os.environ["VRAMWISE_LEDGER_DIR"]).install()


class Watch:
    """Counts optimizer steps and remembers in which of them each card's peak was reached."""

    def __init__(self, torch, limit, folder):
        self.torch, self.limit, self.folder = torch, limit, folder
        self.steps = 0
        self.backwards = 0
        self.loaders_ended = 0
        self.devices = {}
        self.process = os.getpid()

    def install(self):
        import atexit

        from torch.optim import optimizer
        from torch.utils.data import DataLoader

        optimizer.register_optimizer_step_post_hook(lambda *_: self._stepped())
        original = self.torch.Tensor.backward

        def backward(tensor, *arguments, **options):
            self.backwards += 1
            return original(tensor, *arguments, **options)

        self.torch.Tensor.backward = backward
        if self.limit:
            iterate = DataLoader.__iter__
            DataLoader.__iter__ = lambda loader: self._limited(iterate(loader))
        atexit.register(self.write)

    def _limited(self, batches):
        """Ends after `limit` optimizer steps; where nothing is trained, after `limit` batches."""
        steps, backwards = self.steps, self.backwards
        for count, batch in enumerate(batches):
            trains = self.backwards > backwards
            if (self.steps - steps if trains else count) >= self.limit:
                self.loaders_ended += 1
                return
            yield batch

    def _stepped(self):
        self.observe()
        self.steps += 1

    def observe(self):
        """Notes new peaks; a program that resets PyTorch's peaks hides nothing that was seen before."""
        cuda = self.torch.cuda
        if os.getpid() != self.process or not cuda.is_initialized():
            return
        for index in range(cuda.device_count()):
            stats = cuda.memory_stats(index)
            if not stats:
                continue
            seen = self.devices.setdefault(index, {})
            for key in ("allocated_bytes", "reserved_bytes"):
                peak = stats.get(f"{key}.all.peak", 0)
                if peak > seen.get(key, (0, 0))[0]:
                    seen[key] = (peak, self.steps)
            seen["retries"] = stats.get("num_alloc_retries", 0)
            seen["ooms"] = stats.get("num_ooms", 0)

    def write(self):
        if os.getpid() != self.process:
            return
        self.observe()
        # The interpreter's end is where things may break: the ledger is on disk before it.
        write_ledger = getattr(ctypes.CDLL(None), "vramwise_emulator_write_ledger", None)
        if write_ledger:
            write_ledger()
        devices = []
        for index, seen in sorted(self.devices.items()):
            allocated, reserved = seen.get("allocated_bytes", (0, 0)), seen.get("reserved_bytes", (0, 0))
            devices.append(
                {
                    "index": index,
                    "allocated_peak_bytes": allocated[0],
                    "allocated_peak_step": allocated[1],
                    "reserved_peak_bytes": reserved[0],
                    "reserved_peak_step": reserved[1],
                    "retries": seen["retries"],
                    "ooms": seen["ooms"],
                }
            )
        report = {
            "torch": str(self.torch.__version__),
            "steps": self.steps,
            "loaders_ended": self.loaders_ended,
            "devices": devices,
        }
        path = os.path.join(self.folder, f"torch.{self.process}.json")
        with open(path + ".part", "w") as file:
            json.dump(report, file)
        os.replace(path + ".part", path)
