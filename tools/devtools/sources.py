"""What the sources and the CMake files say, read as text: includes, modules, which file belongs to a target."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from devtools import project

CPP = (".cc", ".h")
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)


@dataclass(frozen=True)
class Include:
    name: str
    system: bool  # <…>
    line: int


@dataclass
class Module:
    """One vramwise_module(…) call."""

    name: str
    path: str  # of its CMakeLists.txt
    depends: set[str] = field(default_factory=set)
    test_libraries: set[str] = field(default_factory=set)


def without_comments(cmake: str) -> str:
    return re.sub(r"#.*", "", cmake)


def cmake_calls(cmake: str, function: str) -> list[list[str]]:
    """The arguments of every call of a function; quotes are dropped, variables are left as they are written."""
    calls = re.findall(rf"\b{function}\s*\(([^()]*)\)", without_comments(cmake))
    return [call.replace('"', " ").split() for call in calls]


def keyword_arguments(arguments: list[str], keyword: str) -> set[str]:
    """What follows a KEYWORD up to the next one (all in capitals)."""
    found: set[str] = set()
    inside = False
    for argument in arguments:
        if re.fullmatch(r"[A-Z_]+", argument):
            inside = argument == keyword
        elif inside:
            found.add(argument)
    return found


class Tree:
    """The files of a checkout. `paths` are relative, with forward slashes."""

    def __init__(self, root: Path):
        self.root = root
        self.paths = project.files(root)
        self._texts: dict[str, str] = {}

    def text(self, path: str) -> str:
        if path not in self._texts:
            self._texts[path] = (self.root / path).read_text(encoding="utf-8", errors="replace")
        return self._texts[path]

    def with_suffix(self, *suffixes: str) -> list[str]:
        return [path for path in self.paths if path.endswith(suffixes)]

    def includes(self, path: str) -> list[Include]:
        text = self.text(path)
        return [
            Include(match[2], match[1] == "<", text.count("\n", 0, match.start()) + 1)
            for match in INCLUDE.finditer(text)
        ]

    def resolve(self, includer: str, name: str) -> str | None:
        """The file of this tree that a quoted include means."""
        for base in (posixpath.dirname(includer), "src", "include", ""):
            candidate = posixpath.normpath(posixpath.join(base, name))
            if candidate in self._path_set:
                return candidate
        return None

    def closure(self, path: str) -> list[str]:
        """The file and all files of this tree that it includes, directly or not."""
        seen, waiting = {path}, [path]
        while waiting:
            current = waiting.pop()
            for include in self.includes(current):
                found = self.resolve(current, include.name)
                if found and found not in seen:
                    seen.add(found)
                    waiting.append(found)
        return sorted(seen)

    @cached_property
    def _path_set(self) -> set[str]:
        return set(self.paths)

    @cached_property
    def cmake_lists(self) -> list[str]:
        """The CMakeLists.txt files that a build really reads: those reached from the one at the root."""
        reached, waiting = [], ["CMakeLists.txt"]
        while waiting:
            current = waiting.pop()
            if current in reached or current not in self._path_set:
                continue
            reached.append(current)
            for arguments in cmake_calls(self.text(current), "add_subdirectory"):
                folder = posixpath.join(posixpath.dirname(current), arguments[0])
                waiting.append(posixpath.join(posixpath.normpath(folder), "CMakeLists.txt"))
        return reached

    @cached_property
    def named_by_targets(self) -> set[str]:
        """Every C++ source that stands in a CMake file, as a path of this tree."""
        named = set()
        for path in self.cmake_lists + [path for path in self.paths if path.endswith(".cmake")]:
            for word in re.findall(r"[^\s()\";]+\.cc\b", without_comments(self.text(path))):
                word = re.sub(r"^\$\{CMAKE_CURRENT_(SOURCE|LIST)_DIR\}/", "", word)
                if word.startswith(("${CMAKE_SOURCE_DIR}/", "${PROJECT_SOURCE_DIR}/")):
                    named.add(posixpath.normpath(word.split("}/", 1)[1]))
                else:
                    named.add(posixpath.normpath(posixpath.join(posixpath.dirname(path), word)))
        return named

    @cached_property
    def modules(self) -> dict[str, Module]:
        found = {}
        for path in self.cmake_lists:
            for arguments in cmake_calls(self.text(path), "vramwise_module"):
                found[arguments[0]] = Module(
                    arguments[0],
                    path,
                    keyword_arguments(arguments, "DEPENDS"),
                    {
                        library.removeprefix("vramwise_")
                        for library in keyword_arguments(arguments, "TEST_LIBRARIES")
                        if library.startswith("vramwise_")
                    },
                )
        return found


def module_of(path: str) -> str | None:
    """The folder of src/ that a file is in."""
    parts = path.split("/")
    return parts[1] if parts[0] == "src" and len(parts) > 2 else None


def is_test(path: str) -> bool:
    name = posixpath.basename(path)
    return path.startswith("tests/") or name.endswith("_test.cc") or name.startswith(("test_", "fake_"))
