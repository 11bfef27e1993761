"""Each rule of tools/tidy finds the fault it is for, and nothing in a tree without that fault."""

import subprocess
import sys
from pathlib import Path

import pytest
from devtools import rules
from devtools.sources import Tree, cmake_calls, keyword_arguments

ROOT = Path(__file__).resolve().parents[2]

CLEAN = {
    "CMakeLists.txt": "add_subdirectory(src)\n",
    "cmake/torch_pch.cc": "// Carries the precompiled header.\n",
    "cmake/torch.cmake": "add_library(torch_pch OBJECT ${CMAKE_SOURCE_DIR}/cmake/torch_pch.cc)\n",
    "src/CMakeLists.txt": "add_subdirectory(base)\nadd_subdirectory(estimate)\nadd_subdirectory(train)\n",
    "src/base/CMakeLists.txt": "vramwise_module(base SOURCES text.cc TESTS text_test.cc)\n",
    "src/base/text.h": "#pragma once\n",
    "src/base/text.cc": '// Text.\n#include "base/text.h"\n',
    "src/base/text_test.cc": '#include "base/text.h"\n#include <fstream>\n',
    "src/estimate/CMakeLists.txt": "vramwise_module(estimate\n  SOURCES passes/step.cc  # a comment\n  DEPENDS base)\n",
    "src/estimate/passes/step.cc": '// A step.\n#include "base/text.h"\n',
    "src/train/CMakeLists.txt": "vramwise_module(train TORCH SOURCES loop.cc DEPENDS estimate base)\n",
    "src/train/loop.cc": "// The loop.\n#include <torch/torch.h>\n#include <thread>\n// TODO(#7): faster\n",
    "tests/test_a.py": "import helper\n",
    "tests/helper.py": "",
    "Makefile": "all:\n\ttrue\n",
}


def tree_of(folder, changes):
    for path, text in {**CLEAN, **changes}.items():
        if text is not None:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
    return Tree(folder)


def test_a_clean_tree_has_no_problems(tmp_path):
    assert rules.check(tree_of(tmp_path, {})) == []


HOME = "/ho" + "me/me/x"
FAULTS = [
    ({"src/base/lost.cc": "// Lost.\n"}, "src/base/lost.cc", "no target names"),
    (
        {"src/base/CMakeLists.txt": "vramwise_module(base SOURCES text.cc)\n"},
        "src/base/text_test.cc",
        "no target names",
    ),
    (
        {"src/base/CMakeLists.txt": "vramwise_module(base SOURCES text.cc) # text_test.cc\n"},
        "src/base/text_test.cc",
        "no target names",
    ),
    ({"src/gpus/CMakeLists.txt": "vramwise_module(gpus)\n"}, "src/gpus/CMakeLists.txt", "no add_subdirectory"),
    ({"src/base/lost.h": "#pragma once\n"}, "src/base/lost.h", "nothing includes"),
    ({"src/base/kernel.cu": ""}, "src/base/kernel.cu", "end in .cc"),
    ({"python/vramwise/test_x.py": ""}, "python/vramwise/test_x.py", "pytest doesn't look here"),
    ({"tests/parity.py": ""}, "tests/parity.py", "doesn't collect"),
    (
        {"src/base/CMakeLists.txt": "vramwise_module(base SOURCES text.cc TESTS text_test.cc DEPENDS estimate)\n"},
        "src/base/CMakeLists.txt",
        "base may not depend on estimate",
    ),
    (
        {
            "src/CMakeLists.txt": CLEAN["src/CMakeLists.txt"] + "add_subdirectory(misc)\n",
            "src/misc/CMakeLists.txt": "vramwise_module(misc)\n",
        },
        "src/misc/CMakeLists.txt",
        "no place in LAYERS",
    ),
    (
        {
            "src/CMakeLists.txt": CLEAN["src/CMakeLists.txt"] + "add_subdirectory(io)\n",
            "src/io/CMakeLists.txt": "vramwise_module(io)\n",
            "src/estimate/CMakeLists.txt": "vramwise_module(estimate SOURCES passes/step.cc DEPENDS io base)\n",
        },
        "src/estimate/CMakeLists.txt",
        "takes values only",
    ),
    (
        {"src/base/text.cc": '// Text.\n#include "estimate/passes/step.h"\n', "src/estimate/passes/step.h": ""},
        "src/base/text.cc",
        "lacks estimate in DEPENDS",
    ),
    ({"src/base/text.cc": '// T.\n#include "base/text.h"\n#include <thread>\n'}, "src/base/text.cc", "<thread>"),
    ({"src/base/text.h": "#pragma once\n#include <sys/stat.h>\n"}, "src/base/text.h", "<sys/stat.h>"),
    ({"src/estimate/passes/step.cc": "// S.\n#include <chrono>\n"}, "src/estimate/passes/step.cc", "<chrono>"),
    ({"src/estimate/passes/step.cc": "// S.\n#include <c10/x.h>\n"}, "src/estimate/passes/step.cc", "may include"),
    (
        {"src/train/loop.cc": "// L.\n#include <fmt/format.h>\n#include <ATen/ATen.h>\n"},
        "src/train/loop.cc",
        "fmt beside torch",
    ),
    ({"src/base/text.h": "#pragma once\n// TODO: later\n"}, "src/base/text.h", "without an issue"),  # tidy:allow
    ({"tools/x.py": "# FIXME later\n"}, "tools/x.py", "without an issue"),  # tidy:allow
    ({"src/base/text.cc": "// T.\n" + "\n" * 700}, "src/base/text.cc", "more than 600"),
    ({"src/base/text.cc": '#include "base/text.h"\n'}, "src/base/text.cc", "tells its idea"),
    ({"src/base/text.h": "#pragma once \n"}, "src/base/text.h", "white space"),
    ({"src/base/text.h": "\tint a;\n"}, "src/base/text.h", "tab"),
    ({"README.md": f"see {HOME}\n"}, "README.md", "path of one machine"),
    ({"tools/get": "pip install -i https://pypi" + ".org/simple x\n"}, "tools/get", "package registry"),
]


@pytest.mark.parametrize(("changes", "path", "said"), FAULTS, ids=[f"{path}-{said}" for _, path, said in FAULTS])
def test_a_fault_is_found(tmp_path, changes, path, said):
    found = [problem for problem in rules.check(tree_of(tmp_path, changes)) if problem.fatal]
    assert [problem.path for problem in found] == [path], found
    assert said in found[0].text


def test_a_longish_file_is_a_warning_only(tmp_path):
    found = rules.check(tree_of(tmp_path, {"src/base/text.cc": '// T.\n#include "base/text.h"\n' + "\n" * 450}))
    assert [problem.fatal for problem in found] == [False]


def test_excuses_and_golden_files(tmp_path):
    changes = {
        "a.md": f"{HOME} tidy:allow\n",
        "tests/golden.txt": "a table \n",
        "b.md": "github.com/x/home/y ../root/z\n",
    }
    assert rules.check(tree_of(tmp_path, changes)) == []


def test_cmake_is_read():
    text = 'vramwise_module(a # x\n  TORCH SOURCES "b.cc" c.cc TESTS d.cc\n DEPENDS e f)\nother(g)'
    (arguments,) = cmake_calls(text, "vramwise_module")
    assert arguments[0] == "a"
    assert keyword_arguments(arguments, "SOURCES") == {"b.cc", "c.cc"}
    assert keyword_arguments(arguments, "DEPENDS") == {"e", "f"}


def test_the_closure_of_includes(tmp_path):
    changes = {"src/base/a.h": '#include "base/text.h"\n', "src/base/text.cc": '// T.\n#include "base/a.h"\n'}
    assert tree_of(tmp_path, changes).closure("src/base/text.cc") == [
        "src/base/a.h",
        "src/base/text.cc",
        "src/base/text.h",
    ]


def test_the_program_tells_and_fails(tmp_path):
    tree_of(tmp_path, {"src/base/lost.cc": "// Lost.\n"})
    ended = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "tidy"), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert "src/base/lost.cc:1: no target names this file" in ended.stdout
