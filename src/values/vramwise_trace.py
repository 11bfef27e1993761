"""What PyTorch's allocator was asked for, in order, with the line of the program that asked: to compare two runs.

    vramwise_trace.start(torch)            # before the program's first allocation
    ...
    vramwise_trace.write(torch, path)      # at its end

Two runs that differ only in VRAMWISE_FILL ask for the same, unless something hangs on values that were never computed;
src/values/trace.h reads both files and finds the first difference. The file is text, a record a line, fields parted by
tabs:
    vramwise-trace 1
    line   <number>  <file>  <line>  <function>      numbered from 0; the innermost frame that is not PyTorch's own
    event  <device>  <action>  <bytes>  <line number, or - where none is known>
"""

import os

# free_completed follows free_requested when a stream lags; snapshot is none of the program's.
_ACTIONS = ("alloc", "free_requested", "segment_alloc", "segment_free", "segment_map", "segment_unmap", "oom")
_MOST_EVENTS = 4_000_000


def start(torch):
    """Records from here on; costs a Python stack an event."""
    torch.cuda.memory._record_memory_history(enabled="all", context="all", stacks="python", max_entries=_MOST_EVENTS)


def _frame_of(event, inside):
    """The innermost frame outside of the folder `inside`, else the innermost."""
    frames = event.get("frames") or []
    for frame in frames:
        if not frame["filename"].startswith((inside, "<")):
            return frame["filename"], frame["line"], frame["name"]
    return (frames[0]["filename"], frames[0]["line"], frames[0]["name"]) if frames else None


def _clean(text):
    return str(text).replace("\t", " ").replace("\n", " ")


def write(torch, path):
    """Writes what was recorded, whole or not at all; returns the number of events."""
    inside = os.path.dirname(torch.__file__) + os.sep
    numbers, count = {}, 0
    part = f"{path}.part"
    with open(part, "w", encoding="utf-8") as file:
        file.write("vramwise-trace 1\n")
        for device, events in enumerate(torch.cuda.memory._snapshot()["device_traces"]):
            for event in events:
                if event["action"] not in _ACTIONS:
                    continue
                frame = _frame_of(event, inside)
                if frame and frame not in numbers:
                    numbers[frame] = len(numbers)
                    fields = (numbers[frame], _clean(frame[0]), frame[1], _clean(frame[2]))
                    file.write("line\t" + "\t".join(map(str, fields)) + "\n")
                number = numbers[frame] if frame else "-"
                file.write(f"event\t{device}\t{event['action']}\t{event['size']}\t{number}\n")
                count += 1
    os.replace(part, path)
    return count
