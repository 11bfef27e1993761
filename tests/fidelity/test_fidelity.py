"""What the comparison with published peaks rests on: the draw, the order of the cases, the section of the docs."""

import importlib.machinery
import importlib.util
import json
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent


def load(name):
    loader = importlib.machinery.SourceFileLoader(f"fidelity_{name}", str(HERE / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def run():
    sys.path.insert(0, str(HERE))
    yield load("run")
    sys.path.remove(str(HERE))


@pytest.fixture(scope="module")
def cases():
    return {case["id"]: case for case in map(json.loads, (HERE / "cases.jsonl").read_text().splitlines())}


def drawn():
    return json.loads((HERE / "drawn.json").read_text())


def test_the_draw_is_what_its_seed_gives():
    assert drawn() == load("draw").draw()


def test_every_case_names_its_source_and_what_was_published(cases):
    for case in cases.values():
        assert case["source"].startswith("github.com/")
        assert case["published"]["value"] > 0
        assert case["published"]["counter"] in ("allocated", "reserved", "device", "not stated")


def test_results_are_of_drawn_cases_and_none_was_skipped(run, cases):
    rows = run.read_results()
    chosen = run.cases_to_try(drawn(), rows)
    assert set(rows) <= set(chosen)
    assert all(row["seed"] == drawn()["seed"] for row in rows.values())


def test_a_case_that_cannot_be_run_is_replaced_by_the_next_of_its_source(run):
    order = drawn()["order"]["litgpt-hub"]
    quota = drawn()["quotas"]["litgpt-hub"]
    without = run.cases_to_try(drawn(), {})
    replaced = run.cases_to_try(drawn(), {order[0]: {"reason": "none"}})
    assert set(order[:quota]) <= set(without) and order[quota] not in without
    assert order[quota] in replaced


def test_a_peak_is_the_same_figure_when_it_rounds_to_it(run):
    case = {"published": {"counter": "device", "value": 4847, "unit_bytes": 1 << 20, "decimals": 0, "context_bytes": 0}}
    for mib, same in ((4847.4, True), (4847.6, False)):
        assert run.report.same_as_printed(case, {"emulated": {"reserved": mib * (1 << 20)}}) is same


def test_a_large_error_has_a_word_on_where_it_comes_from(run, cases):
    explained = json.loads(run.report.EXPLAINED.read_text())
    ran = [row for row in run.read_results().values() if "emulated" in row]
    for row in ran:
        case = cases[row["id"]]
        if case["published"]["counter"] != "not stated":
            assert abs(run.report.error(case, row)) <= run.report.LARGE or row["id"] in explained, row["id"]


def test_at_least_forty_runs_and_most_are_within_two_thousandths(run, cases):
    errors = [
        abs(run.report.error(cases[row["id"]], row))
        for row in run.read_results().values()
        if "emulated" in row and cases[row["id"]]["published"]["counter"] != "not stated"
    ]
    assert len(errors) >= 40
    assert sum(error <= 0.002 for error in errors) >= 0.75 * len(errors)
    assert sorted(errors)[len(errors) // 2] <= 0.001


def test_the_docs_show_these_results(run, cases):
    text = (HERE.parent.parent / "docs" / "accuracy.md").read_text()
    assert run.report.section(cases, drawn(), run.read_results()).rstrip("\n") in text
