"""Lies first on the path of a program that is not counted as a dry run, as it is declared to be without PyTorch."""

raise AssertionError("this program imports torch: count it as a dry run (tests/dry_runs.py)")
