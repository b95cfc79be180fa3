"""Imports go one way, as docs/architecture.md draws it; read from the source, not from a list by hand."""

from __future__ import annotations

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "snowplow_tracker"
FOLDERS = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
BESIDE_THE_PATH = {"collector", "testing", "demo", "cli", "__main__"}


def imports_of(source: Path) -> set[str]:
    """The modules of the package that a file imports, wherever in it: ``tracker``, ``collector``, ..."""
    found = set()
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "snowplow_tracker":
            inner = node.module.split(".")[1:]
            found |= {inner[0]} if inner else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            found |= {parts[1] for parts in names if parts[0] == "snowplow_tracker" and len(parts) > 1}
    return found


def graph() -> dict[str, set[str]]:
    modules = {path.stem: path for path in PACKAGE.glob("*.py") if path.stem != "__init__"}
    return {name: imports_of(path) & {*modules, *FOLDERS} for name, path in modules.items()}


def order_in_the_documentation() -> list[str]:
    rows = re.findall(r"^\| (`[a-z_`., ]+) \|", (ROOT / "docs" / "architecture.md").read_text("utf-8"), re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`([a-z_]+)\.py`", row)]


def test_no_module_imports_itself_by_a_detour() -> None:
    assert list(TopologicalSorter(graph()).static_order())


def test_the_path_never_imports_what_sits_beside_it() -> None:
    path = {name: found for name, found in graph().items() if name not in BESIDE_THE_PATH}
    assert {name: found & BESIDE_THE_PATH for name, found in path.items() if found & BESIDE_THE_PATH} == {}


def test_the_collector_judges_without_the_trackers_code() -> None:
    for source in (PACKAGE / "collector").glob("*.py"):
        assert imports_of(source) <= {"collector", "testing"}, source.name


def test_a_module_imports_only_from_rows_above_it() -> None:
    order = order_in_the_documentation()
    for name, found in graph().items():
        if name in BESIDE_THE_PATH or name == "version":
            continue
        assert name in order, f"{name} is not in docs/architecture.md"
        below = {other for other in found - {"version"} if order.index(other) > order.index(name)}
        assert not below, f"{name} imports {below} from below"


def test_the_import_path_of_2013_is_nothing_but_re_exports() -> None:
    for source in (ROOT / "snowplowtracker").glob("*.py"):
        kinds = {type(node) for node in ast.parse(source.read_text("utf-8")).body}
        assert kinds <= {ast.Expr, ast.ImportFrom, ast.Assign}, source.name


def test_the_2013_names_are_the_same_objects() -> None:
    import snowplow_tracker
    from snowplowtracker import Tracker, tracker
    from snowplowtracker.tracker import Tracker as ByModule

    assert Tracker is ByModule is tracker.Tracker is snowplow_tracker.Tracker
