"""The rules of tools/tidy: each takes a Tree and yields what breaks it. Compilers and formatters judge the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from devtools.sources import CPP, Tree, is_test, module_of

# Who may use whom: a module may use those of the rows above its own (docs/architecture.md tells why).
LAYERS: list[list[str]] = [
    ["base"],
    ["gpus", "allocator", "io"],
    ["tape", "data", "device", "emulator", "synth"],
    ["models", "safetensors"],
    ["estimate", "nn"],
    ["cost", "run"],
    ["plan"],
    ["report"],
    ["values"],
    ["dryrun", "train"],
]

# These take text and values: no files, threads, clock or console, and none of the modules that have them.
PURE = {"base", "gpus", "allocator", "tape", "models", "estimate", "cost", "plan", "report"}
IMPURE_HEADERS = re.compile(
    r"thread|mutex|shared_mutex|condition_variable|future|semaphore|barrier|latch|stop_token|fstream|filesystem|chrono"
    r"|ctime|time\.h|iostream|pthread\.h|unistd\.h|fcntl\.h|dlfcn\.h|sys/.*"
)

# <torch/torch.h> costs a compiler 15 s, and its fmt is another version than ours.
TORCH_MODULES = {"nn", "train", "values"}
TORCH_HEADERS = re.compile(r"(torch|ATen|c10|caffe2)/.*")

WARN_LINES, MOST_LINES = 400, 600
TEXT = (".cc", ".h", ".py", ".md", ".cmake", ".sh", ".json", ".toml", ".yml", ".yaml", ".txt")
# `tidy:allow` on a line excuses it from these three (a test's made-up path, say).
UNTRACKED = re.compile(r"\b(TODO|FIXME|XXX)\b(?!\(#\d+\))")  # tidy:allow
PRIVATE_PATH = re.compile(r"(?<![\w./}-])/(?:work|root|home)(?=[/\s\"'`]|$)")
MADE_UP_PATH = re.compile(r"/(?:root|home)/")  # of the odd machines in C++ tests
# Set-up takes packages from wherever the machine's own apt and pip are pointed at.
SET_UP = ("tools/", "cmake/", ".ci/", "python/", "tests/bootstrap/", "Makefile", "requirements", "CMakeLists.txt")
REGISTRY = re.compile(r"pypi\.org|pythonhosted\.org|download\.pytorch\.org|anaconda\.org|deb\.debian\.org")


@dataclass(frozen=True)
class Problem:
    path: str
    line: int
    text: str
    fatal: bool = True

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {'' if self.fatal else 'warning: '}{self.text}"


def sources_have_a_target(tree: Tree) -> Iterator[Problem]:
    """A file that nothing builds rots, and a test that nothing builds looks as if it passed."""
    for path in tree.with_suffix("CMakeLists.txt"):
        if path not in tree.cmake_lists:
            yield Problem(path, 1, "no add_subdirectory leads here")
    for path in tree.with_suffix(".cc"):
        if path not in tree.named_by_targets:
            yield Problem(path, 1, "no target names this file (CMakeLists.txt)")
    included = {tree.resolve(path, include.name) for path in tree.with_suffix(*CPP) for include in tree.includes(path)}
    for path in tree.with_suffix(".h"):
        if path not in included:
            yield Problem(path, 1, "nothing includes this header")
    for path in tree.with_suffix(".cpp", ".cxx", ".hpp", ".cu"):
        yield Problem(path, 1, "C++ files end in .cc and .h here")


def python_tests_are_collected(tree: Tree) -> Iterator[Problem]:
    """pytest collects tests/**/test_*.py and nothing else."""
    programs = [path for path in tree.paths if path.endswith(".py") or "." not in path.rpartition("/")[2]]
    texts = [tree.text(path) for path in programs if path.startswith("tests/")]
    for path in tree.with_suffix(".py"):
        folder, _, name = path.rpartition("/")
        if name.startswith("test_") and not folder.startswith("tests"):
            yield Problem(path, 1, "pytest doesn't look here: tests belong into tests/")
        helper = not name.startswith("test_") and name not in ("conftest.py", "__init__.py")
        if folder.startswith("tests") and helper and sum(name[:-3] in text for text in texts) == 0:
            yield Problem(path, 1, "pytest doesn't collect this file (its name isn't test_*.py), and no test names it")


def layers_are_kept(tree: Tree) -> Iterator[Problem]:
    row = {module: number for number, modules in enumerate(LAYERS) for module in modules}
    for module in tree.modules.values():
        if module.name not in row:
            yield Problem(module.path, 1, f"module {module.name} has no place in LAYERS (tools/devtools/rules.py)")
            continue
        for used in sorted(module.depends):
            if row.get(used, len(LAYERS)) >= row[module.name]:
                yield Problem(module.path, 1, f"{module.name} may not depend on {used}: see LAYERS")
            elif module.name in PURE and used not in PURE:
                yield Problem(module.path, 1, f"{module.name} takes values only; {used} touches the system")


def includes_are_declared(tree: Tree) -> Iterator[Problem]:
    """CMake would also accept what a dependency passes on; here a file's module names what the file includes."""
    for path in tree.with_suffix(*CPP):
        module = tree.modules.get(module_of(path) or "")
        if not module:
            continue
        allowed = module.depends | {module.name} | (module.test_libraries if is_test(path) else set())
        for include in tree.includes(path):
            used = module_of(tree.resolve(path, include.name) or "")
            if used and used not in allowed:
                yield Problem(path, include.line, f"includes {include.name}, but {module.path} lacks {used} in DEPENDS")


def pure_modules_stay_pure(tree: Tree) -> Iterator[Problem]:
    for path in tree.with_suffix(*CPP):
        if module_of(path) in PURE and not is_test(path):
            for include in tree.includes(path):
                if include.system and IMPURE_HEADERS.fullmatch(include.name):
                    yield Problem(
                        path, include.line, f"<{include.name}>: {module_of(path)} has no files, threads or clock"
                    )


def torch_stays_in_its_place(tree: Tree) -> Iterator[Problem]:
    for path in tree.with_suffix(*CPP):
        includes = tree.includes(path)
        torch = [include for include in includes if TORCH_HEADERS.fullmatch(include.name)]
        if torch and path.startswith(("src/", "cli/")) and module_of(path) not in TORCH_MODULES:
            yield Problem(path, torch[0].line, f"only {', '.join(sorted(TORCH_MODULES))} may include <{torch[0].name}>")
        for include in includes:
            if torch and include.name.startswith("fmt/"):
                yield Problem(path, include.line, "fmt beside torch, which carries another version of it")


def todos_have_an_issue(tree: Tree) -> Iterator[Problem]:
    for path, number, line in lines_of_code(tree):
        for mark in UNTRACKED.finditer(line):
            if "tidy:allow" not in line:
                yield Problem(path, number, f"{mark[1]} without an issue: write {mark[1]}(#123)")


def files_are_short(tree: Tree) -> Iterator[Problem]:
    for path in tree.with_suffix(".cc", ".h", ".py", ".sh"):
        lines = tree.text(path).count("\n")
        if lines > WARN_LINES:
            yield Problem(path, 1, f"{lines} lines; more than {MOST_LINES} are an error", lines > MOST_LINES)


def sources_open_with_their_idea(tree: Tree) -> Iterator[Problem]:
    for path in tree.with_suffix(".cc"):
        if not path.endswith("_test.cc") and not tree.text(path).lstrip().startswith(("//", "/*")):
            yield Problem(path, 1, "opens without a comment that tells its idea")


def text_is_clean(tree: Tree) -> Iterator[Problem]:
    for path, number, line in lines_of_code(tree):
        golden = path.startswith("tests/") and path.endswith(".txt")  # may show what a program printed
        if line != line.rstrip() and not golden:
            yield Problem(path, number, "ends in white space")
        if "\t" in line and not golden:
            yield Problem(path, number, "has a tab")
        made_up = path.endswith(CPP) and is_test(path)
        if "tidy:allow" not in line and PRIVATE_PATH.search(MADE_UP_PATH.sub("", line) if made_up else line):
            yield Problem(path, number, "names a path of one machine")
        if path.startswith(SET_UP) and "tidy:allow" not in line and REGISTRY.search(line):
            yield Problem(path, number, "names a package registry: that is the user's own setting")


def lines_of_code(tree: Tree) -> Iterator[tuple[str, int, str]]:
    for path in tree.paths:
        name = path.rsplit("/", 1)[-1]
        if path.endswith(TEXT) or ("." not in name and name not in ("LICENSE", "Makefile")):
            for number, line in enumerate(tree.text(path).split("\n"), 1):
                yield path, number, line


RULES = [
    sources_have_a_target,
    python_tests_are_collected,
    layers_are_kept,
    includes_are_declared,
    pure_modules_stay_pure,
    torch_stays_in_its_place,
    todos_have_an_issue,
    files_are_short,
    sources_open_with_their_idea,
    text_is_clean,
]


def check(tree: Tree) -> list[Problem]:
    return sorted((problem for rule in RULES for problem in rule(tree)), key=lambda each: (each.path, each.line))
