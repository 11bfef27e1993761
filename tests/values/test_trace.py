"""Two runs with different fills ask for the same memory, unless the program asks by values that were never computed."""

import itertools

import machine
import pytest

SCRIPT = machine.ROOT / "tests" / "values" / "scripts" / "traced.py"


@pytest.fixture(scope="module")
def traces(together, otherwise, of, traces_in):
    """Both traces of a name, as lines."""
    for fill, results in enumerate((together, otherwise)):
        assert of(results, "traced")["loss"] == float(fill), "a number that was skipped is the fill"

    def both(name):
        texts = [(traces_in[fill] / name).read_text().splitlines() for fill in (0, 1)]
        for text, results in zip(texts, (together, otherwise), strict=True):
            counted = sum(line.startswith("event\t") for line in text)
            assert counted == of(results, "traced")["events"][name] > 0
        return texts

    return both


def events(trace):
    """(device, action, bytes) with the line that asked."""
    lines, found = {}, []
    for record in trace[1:]:
        kind, *fields = record.split("\t")
        if kind == "line":
            lines[fields[0]] = (fields[1], int(fields[2]))
        else:
            found.append((tuple(fields[:3]), lines.get(fields[3])))
    return found


def test_what_true_values_decide_is_the_same_in_both(traces):
    first, second = traces("no")
    assert first == second


def test_the_first_difference_is_at_the_line_that_asked(traces):
    first, second = (events(trace) for trace in traces("yes"))
    pairs = itertools.zip_longest(first, second)
    (_, line), other = next((a, b) for a, b in pairs if a is None or b is None or a[0] != b[0])
    number = next(i for i, text in enumerate(SCRIPT.read_text().splitlines(), 1) if "# the line" in text)
    assert line == (str(SCRIPT), number)
    assert other[1] == line
