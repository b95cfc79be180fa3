"""The public surface, pinned: every name and argument that a program may use is a line of ``public_names.txt``.

A change of that file is a change for users: see docs/releasing.md for what it does to the version. To write it anew:

    python tests/test_public_names.py > tests/public_names.txt
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent
ROOT = TESTS.parent
REFERENCE = ROOT / "docs" / "reference"
LISTED = TESTS / "public_names.txt"
PACKAGES = ("snowplow_tracker", "snowplowtracker")


def source_of(module: str) -> Path:
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def documented() -> list[str]:
    """What the reference has an entry for: ``snowplow_tracker.tracker.Tracker``, or a whole module."""
    pages = "\n".join(page.read_text("utf-8") for page in sorted(REFERENCE.glob("*.md")))
    return re.findall(r"^::: (\S+)", pages, re.MULTILINE)


def arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """The names a caller may give, ``=`` after those that may be left out."""
    given = node.args
    plain = [argument.arg for argument in [*given.posonlyargs, *given.args]]
    first_default = len(plain) - len(given.defaults)
    names = [f"{name}=" if at >= first_default else name for at, name in enumerate(plain)]
    names += [f"*{given.vararg.arg}"] if given.vararg else ["*"] if given.kwonlyargs else []
    defaults = zip(given.kwonlyargs, given.kw_defaults, strict=True)
    names += [f"{argument.arg}=" if default is not None else argument.arg for argument, default in defaults]
    names += [f"**{given.kwarg.arg}"] if given.kwarg else []
    return ", ".join(name for name in names if name not in ("self", "cls"))


def members(prefix: str, body: list[ast.stmt]) -> Iterator[str]:
    """The public names that *body*, of a module or a class, defines."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if not node.name.startswith("_") or node.name == "__init__":
                yield f"{prefix}.{node.name}({arguments(node)})"
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            bases = ", ".join(ast.unparse(base) for base in node.bases)
            yield f"{prefix}.{node.name}" + (f"({bases})" if bases else "")
            yield from members(f"{prefix}.{node.name}", node.body)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Name) and not target.id.startswith("_"):
                    optional = "=" if isinstance(node, ast.AnnAssign) and _may_be_left_out(node.value) else ""
                    yield f"{prefix}.{target.id}{optional}"


def _may_be_left_out(value: ast.expr | None) -> bool:
    """Whether a field has a default; ``attrs.field(...)`` has one only if it says so."""
    if isinstance(value, ast.Call) and ast.unparse(value.func) == "attrs.field":
        return any(keyword.arg in ("default", "factory") for keyword in value.keywords)
    return value is not None


def exported(package: str) -> list[str]:
    return [f"{package}: {name}" for name in importlib.import_module(package).__all__]


def definition(module: str, name: str) -> list[ast.stmt]:
    """The statement that defines a name of a module."""
    body = ast.parse(source_of(module).read_text("utf-8")).body
    return [node for node in body if any(re.match(rf"{module}\.{name}\b", line) for line in members(module, [node]))]


def inherited(module: str, name: str) -> Iterator[str]:
    """What a class has from bases that the reference does not show by themselves, and has not defined anew."""
    kind = getattr(importlib.import_module(module), name)
    own = set(vars(kind)) if isinstance(kind, type) else set()
    for base in kind.__mro__[1:] if isinstance(kind, type) else ():
        shown = {base.__module__, f"{base.__module__}.{base.__name__}"} & {*documented()}
        if base.__module__.startswith(PACKAGES) and not shown:
            body = ast.parse(source_of(base.__module__).read_text("utf-8")).body
            (found,) = [node for node in body if isinstance(node, ast.ClassDef) and node.name == base.__name__]
            for line in members(f"{module}.{name}", found.body):
                member = re.match(r"\w+", line.removeprefix(f"{module}.{name}."))
                if member and member[0] not in own:
                    yield line
            own |= set(vars(base))


def surface() -> list[str]:
    """Every public name: what the packages export, and what the reference documents, member by member."""
    found = [line for package in PACKAGES for line in exported(package)]
    for name in documented():
        if source_of(name).exists():
            found += members(name, ast.parse(source_of(name).read_text("utf-8")).body)
            continue
        module, _, own = name.rpartition(".")
        assert definition(module, own), f"the reference documents {name}, and {module} has no {own}"
        found += [*members(module, definition(module, own)), *inherited(module, own)]
    return sorted(set(found))


def test_the_public_surface_is_what_the_list_says() -> None:
    assert surface() == LISTED.read_text("utf-8").splitlines(), "see the head of this file"


def test_everything_that_can_be_imported_from_the_package_is_in_the_reference() -> None:
    entries = documented()
    names = {entry.rpartition(".")[2] for entry in entries} | {
        line.partition("(")[0].rpartition(".")[2] for line in surface() if ": " not in line
    }
    assert {line.partition(": ")[2] for line in exported("snowplow_tracker")} - names == {"__version__"}


def test_every_public_name_has_a_docstring() -> None:
    missing = []
    for name in documented():
        module = name if source_of(name).exists() else name.rpartition(".")[0]
        for node in ast.walk(ast.parse(source_of(module).read_text("utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and not ast.get_docstring(node):
                missing.append(f"{module}.{node.name}")
    assert missing == []


if __name__ == "__main__":
    print("\n".join(surface()))
