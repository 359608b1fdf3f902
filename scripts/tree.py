"""Write the tree of docs/architecture.md from the modules' own first lines, so that the picture cannot drift from the code.

`python scripts/tree.py` rewrites the block between the two markers; `--check` only says whether it is true.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "stillhouse"
CHAPTER = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- tree: scripts/tree.py -->\n", "<!-- end of tree -->\n"

FLOORS: dict[str, tuple[str, ...]] = {
    "1  ground: depends on nothing": (
        "errors",
        "records",
        "ids",
        "splice",
    ),
    "2  words: frozen records and protocols, no I/O": (
        "registry",
        "settings",
        "chat",
        "sse",
        "transcript",
        "ending",
        "prompts",
        "answers",
        "reasoning",
        "generation",
        "responses",
        "completion",
        "document",
        "upstream",
        "route",
        "keys",
        "prices",
        "dataset",
        "signal",
        "method",
        "recipe",
        "run",
        "batch",
        "artifact",
        "webhook",
        "templates",
        "formula",
        "sample",
        "similarity",
        "grade",
        "eval_config",
        "charts",
    ),
    "3  keeping, and confining": (
        "tensors",
        "files",
        "weights",
        "artifacts",
        "cards",
        "signals",
        "stores",
        "formats",
        "tasks",
        "assets",
        "sandbox",
        "shipped",
    ),
    "4  kinds: each folder is a plural, its __init__ a table of strings": (
        "students",
        "models",
        "graders",
        "labelling_functions",
        "losses",
        "features",
        "selectors",
    ),
    "5  verbs: each takes what it needs as arguments": (
        "apply",
        "metering",
        "capture",
        "curation",
        "filing",
        "bulk",
        "labelling",
        "voting",
        "explaining",
        "training",
        "evaluation",
        "self_consistency",
        "routing",
        "webhooks",
    ),
    "6  faces: names are resolved and parts joined here": (
        "workspace",
        "gateway",
        "grading",
        "sources",
        "loop",
        "jobs",
        "finetuning",
        "rescue",
        "scripting",
        "api",
        "app",
        "server",
    ),
    "7  the command line": (
        "demo",
        "cli",
    ),
}
"""Floor -> its rooms, in reading order. The one list: tests/test_architecture.py holds the code to it."""


def first_line(path: Path) -> str:
    """The first sentence of a module's docstring, on one line."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n\n")[0].replace("\n", " ").strip()


def lines_of(room: str) -> Iterator[str]:
    """A room's line, and one for each file when it is a folder."""
    folder = SOURCE / room
    if (SOURCE / f"{room}.py").exists():
        yield f"{room + '.py':<26}{first_line(SOURCE / f'{room}.py')}"
    elif folder.is_dir() and (folder / "__init__.py").exists():
        yield f"{room + '/':<26}{first_line(folder / '__init__.py')}"
        for path in sorted(folder.rglob("*.py")):
            if path.name != "__init__.py":
                yield f"    {path.relative_to(folder).as_posix():<22}{first_line(path)}"


def tree() -> str:
    """The whole block, markers included."""
    lines = ["src/stillhouse/"]
    for title, rooms in FLOORS.items():
        lines.append(f"  # {title}")
        lines.extend(f"  {line}".rstrip() for room in rooms for line in lines_of(room))
    return f"{BEGIN}```text\n" + "\n".join(lines) + f"\n```\n{END}"


def with_tree(chapter: str) -> str:
    """The chapter with the block replaced."""
    before, _, rest = chapter.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + tree() + after


def main() -> int:
    chapter = CHAPTER.read_text(encoding="utf-8")
    if "--check" in sys.argv[1:]:
        return 0 if with_tree(chapter) == chapter else 1
    CHAPTER.write_text(with_tree(chapter), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
