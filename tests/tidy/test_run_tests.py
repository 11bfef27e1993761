"""The count that ends `make test`: what ctest and pytest wrote, and steps that broke without a failed test."""

import importlib.machinery
import importlib.util
from pathlib import Path

import pytest
from devtools.junit import Count, count

ROOT = Path(__file__).resolve().parents[2]

CTEST = """<?xml version="1.0"?>
<testsuite name="x" tests="4" failures="1" disabled="1" skipped="1">
  <testcase name="A.passes" classname="A.passes" time="0.1" status="run"><system-out>ok</system-out></testcase>
  <testcase name="A.fails" classname="A.fails" time="0.1" status="fail"><failure message=""/></testcase>
  <testcase name="A.is_disabled" classname="A.is_disabled" status="disabled"/>
  <testcase name="A.skips" classname="A.skips" status="notrun"><skipped message="SKIP_RETURN_CODE"/></testcase>
</testsuite>"""
PYTEST = """<testsuites><testsuite name="pytest" errors="1" failures="1" skipped="1" tests="4">
  <testcase classname="t" name="a"/><testcase classname="t" name="b"><failure message="m">f</failure></testcase>
  <testcase classname="t" name="c"><error message="m">e</error></testcase>
  <testcase classname="t" name="d"><skipped message="m">s</skipped></testcase>
</testsuite></testsuites>"""


@pytest.fixture(scope="module")
def run_tests():
    loader = importlib.machinery.SourceFileLoader("run_tests", str(ROOT / "tools" / "run_tests"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("run_tests", loader))
    loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("text", "passed", "failed", "skipped"),
    [(CTEST, 1, 1, 2), (PYTEST, 1, 2, 1), ("<testsuite>", 0, 0, 0), ("<testsuite/>", 0, 0, 0)],
)
def test_reports_are_counted(tmp_path, text, passed, failed, skipped):
    report = tmp_path / "report.xml"
    report.write_text(text)
    found = count(report)
    assert (found.passed, found.failed, found.skipped) == (passed, failed, skipped)
    assert len(found.failures) == failed


def test_a_missing_report_counts_nothing(tmp_path):
    assert count(tmp_path / "none.xml") == Count()


@pytest.mark.parametrize(
    ("script", "passed", "failed"),
    [
        ("printf '%s' '{}' >report.xml; exit 1", 1, 1),  # a failed test is not counted twice
        ("exit 1", 0, 1),  # the build broke
        ("exit 0", 0, 1),  # nothing ran
        ("printf '<testsuite><testcase name=\"a\"/></testsuite>' >report.xml", 1, 0),
        ("printf '<testsuite><testcase name=\"a\"/></testsuite>' >report.xml; exit 1", 1, 1),
    ],
)
def test_steps_with_a_report(run_tests, tmp_path, monkeypatch, script, passed, failed):
    monkeypatch.setattr(run_tests, "ROOT", tmp_path)
    (tmp_path / "report.xml").write_text(PYTEST)  # of an earlier run: must not be counted
    found = run_tests.run(["sh", "-c", script.replace("{}", CTEST)], tmp_path / "report.xml")
    assert (found.passed, found.failed) == (passed, failed)


def test_steps_without_a_report_are_one_check(run_tests):
    assert run_tests.run(["true"]).passed == 1
    assert run_tests.run(["false"]).failed == 1


@pytest.mark.parametrize(
    ("steps", "last_line", "code"),
    [
        ([Count(passed=3), Count(passed=2)], "5 passed, 0 failed", 0),
        ([Count(passed=3), Count(passed=2, failed=1)], "5 passed, 1 failed", 1),
        ([Count(skipped=2)], "0 passed, 0 failed", 1),
    ],
)
def test_the_last_line_and_the_exit_code(run_tests, monkeypatch, capsys, steps, last_line, code):
    monkeypatch.setattr(run_tests, "STEPS", {str(n): lambda step=step: step for n, step in enumerate(steps)})
    monkeypatch.setattr("sys.argv", ["run_tests"])
    assert run_tests.main() == code
    assert capsys.readouterr().out.splitlines()[-1] == last_line
