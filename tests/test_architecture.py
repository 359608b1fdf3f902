"""The floors of docs/architecture.md, held by machine: imports run downward, siblings stay apart, the heavy libraries stay out.

Every import counts, inside functions and under TYPE_CHECKING too: what is looked up is depended on.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tree import FLOORS

SOURCE = Path(__file__).parent.parent / "src" / "stillhouse"

APART = {
    3: {"files", "artifacts", "tensors"},
    4: set(),
    5: {"apply"},
}
"""Floors whose rooms do not import each other, and the rooms there that all may use."""

KINDS_APART = {
    "graders": {"base", "building", "judging", "rubrics"},
    "labelling_functions": {"base", "reading"},
    "losses": {"base", "sources", "slices", "blocks"},
    "features": {"base"},
    "selectors": {"base"},
    "models": {"student_answers", "student_process"},
    "tasks": {"base", "words"},
    "formats": {"base"},
}
"""Plural folders whose files do not import each other, and the files that they may import."""

HEAVY = {"torch", "transformers", "sklearn", "skops", "safetensors", "tokenizers"}
HEAVY_ROOMS = {"tensors", "students", "losses", "features", "training"}

FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS.values(), start=1) for room in rooms}


def modules() -> list[Path]:
    return sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


def name_of(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    return module.split(".")[1]


def imports_of(path: Path) -> Iterator[str]:
    """Full names of everything `path` imports, wherever the statement stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the whole name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def arrows() -> list[tuple[str, str]]:
    """(importing module, imported module), both ours."""
    known = {name_of(path) for path in modules()}
    found = []
    for path in modules():
        for target in imports_of(path):
            if target.startswith("stillhouse."):
                module = target if target in known else target.rpartition(".")[0]
                if module != "stillhouse":
                    found.append((name_of(path), module))
    return found


def test_every_module_has_a_room() -> None:
    homeless = sorted({room_of(name_of(path)) for path in modules()} - set(FLOOR_OF))
    assert not homeless, f"{homeless} stand on no floor: enter them in FLOORS of scripts/tree.py"


def test_imports_run_downward() -> None:
    upward = [
        f"{source} -> {target}"
        for source, target in arrows()
        if FLOOR_OF.get(room_of(target), 0) > FLOOR_OF.get(room_of(source), 9)
    ]
    assert not upward, "these imports run upward:\n" + "\n".join(sorted(set(upward)))


def test_siblings_stay_apart() -> None:
    crossings = []
    for source, target in arrows():
        rooms = room_of(source), room_of(target)
        floor = FLOOR_OF.get(rooms[0])
        if rooms[0] != rooms[1] and floor in APART and floor == FLOOR_OF.get(rooms[1]) and rooms[1] not in APART[floor]:
            crossings.append(f"{source} -> {target}")
    assert not crossings, "rooms of one floor that may not import each other:\n" + "\n".join(sorted(set(crossings)))


def test_kinds_of_one_folder_stay_apart() -> None:
    crossings = []
    for source, target in arrows():
        folder = room_of(source)
        if folder in KINDS_APART and folder == room_of(target) and source.count(".") > 1 and target.count(".") > 1:
            kind = target.split(".")[2]
            if kind not in KINDS_APART[folder] and kind != source.split(".")[2]:
                crossings.append(f"{source} -> {target}")
    assert not crossings, "kinds of one folder that import each other:\n" + "\n".join(crossings)


def test_there_is_no_circle() -> None:
    graph: dict[str, set[str]] = {}
    for source, target in arrows():
        if source != target:
            graph.setdefault(source, set()).add(target)
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, "circle: " + " -> ".join((*path[path.index(module) :], module))
        if module not in done:
            for target in sorted(graph.get(module, ())):
                visit(target, (*path, module))
            done.add(module)

    for module in sorted(graph):
        visit(module, ())


def test_heavy_libraries_stay_in_their_rooms() -> None:
    strays = [
        f"{name_of(path)} imports {target}"
        for path in modules()
        for target in imports_of(path)
        if target.partition(".")[0] in HEAVY and room_of(name_of(path)) not in HEAVY_ROOMS
    ]
    assert not strays, "\n".join(strays)


@pytest.mark.parametrize("start", ["import stillhouse.app", "from stillhouse.cli.main import main; main(['--help'])"])
def test_cold_start_imports_nothing_heavy(start: str) -> None:
    code = (
        f"import sys\ntry:\n    {start}\nexcept SystemExit:\n    pass\n"
        f"print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert process.stderr.strip() == "[]"


def test_files_and_functions_stay_small() -> None:
    """Files under ~300 lines (400 is a stop), functions at most 60."""
    long_files, long_functions = [], []
    for path in modules():
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > 400:
            long_files.append(f"{name_of(path)}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
                length = node.end_lineno - node.lineno + 1
                if length > 60:
                    long_functions.append(f"{name_of(path)}.{node.name}: {length} lines")
    assert not long_files + long_functions, "\n".join(long_files + long_functions)


FORBIDDEN_CALLS = {"torch.load", "pickle.load", "pickle.loads", "joblib.load", "eval", "exec", "os.system"}
CONFINED = {"stillhouse.sandbox.guest": {"exec"}}
"""The one place where foreign code runs: a process that has locked itself in (tests/sandbox)."""


def test_nothing_runs_foreign_code() -> None:
    """reliability: no pickle, no torch.load, no eval or exec, no shell, no trust_remote_code=True."""
    found = []
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                if ast.unparse(node.func) in FORBIDDEN_CALLS - CONFINED.get(name_of(path), set()):
                    found.append(f"{name_of(path)}:{node.lineno} {ast.unparse(node.func)}")
                for keyword in node.keywords:
                    risky = {"trust_remote_code", "shell", "allow_pickle"}
                    if keyword.arg in risky and ast.unparse(keyword.value) != "False":
                        found.append(f"{name_of(path)}:{node.lineno} {keyword.arg}")
    assert not found, "\n".join(found)


def test_every_folder_of_tests_mirrors_a_room() -> None:
    own = {"sdk", "fakes", "faults"}
    folders = {path.name for path in Path(__file__).parent.iterdir() if path.is_dir() and not path.name.startswith("__")}
    assert folders <= set(FLOOR_OF) | own, f"{sorted(folders - set(FLOOR_OF) - own)} mirror no room of src/stillhouse"


def test_the_tree_in_the_docs_is_true() -> None:
    process = subprocess.run([sys.executable, str(SOURCE.parent.parent / "scripts" / "tree.py"), "--check"], check=False)
    assert process.returncode == 0, "docs/architecture.md has an old tree: run `python scripts/tree.py`"
