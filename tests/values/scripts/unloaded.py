"""Why values are not true: switched off, no compiler, one that fails. The program goes on each time."""

import json
import os

import torch
import vramwise_values


def main():
    notes = {}
    os.environ["VRAMWISE_VALUES"] = "off"
    notes["off"] = vramwise_values.load(torch)
    del os.environ["VRAMWISE_VALUES"]
    os.environ["CXX"] = "/bin/false"
    notes["fails"] = vramwise_values.load(torch)
    os.environ.update(CXX="", PATH="")
    notes["none"] = vramwise_values.load(torch)
    print(
        json.dumps(
            {"notes": notes, "report": vramwise_values.report(), "full": torch.full((2,), 3.0, device="cuda").tolist()}
        )
    )


if __name__ == "__main__":
    main()
