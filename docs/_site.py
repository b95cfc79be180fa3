"""What the site needs besides pages. mkdocs calls the functions.

The pages are written to be read in the repository as well, so they link to files that are no pages. Here those become
pages: each program of ``examples/``, and the files at the root that a reader may want.
"""

from __future__ import annotations

import ast
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
AT_THE_ROOT = {
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "README.md": "index.md",
}
LINK = re.compile(r"\]\((?![a-z]+:|#)([^)#]+)(#[^)]*)?\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the examples into the navigation, where it says ``Examples: []``."""
    for section in config.nav or []:
        for entry in next(iter(section.values())):
            if isinstance(entry, dict) and entry.get("Examples") == []:
                entry["Examples"] = [{_title(source): _page_of(f"examples/{source.name}")} for source in _examples()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made of other files."""
    for name, target in AT_THE_ROOT.items():
        if target != "index.md":
            text = _with_links((ROOT / name).read_text("utf-8"), ".", target)
            files.append(File.generated(config, target, content=text))
    for source in _examples():
        files.append(File.generated(config, f"examples/{source.stem}.md", content=_program(source)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead links out of ``docs/`` to the pages made of what they point to."""
    if page.file.generated_by:
        return markdown
    return _with_links(markdown, posixpath.join("docs", posixpath.dirname(page.file.src_uri)), page.file.src_uri)


def _examples() -> list[Path]:
    return sorted(source for source in (ROOT / "examples").glob("*.py") if source.stem != "__init__")


def _title(source: Path) -> str:
    about = ast.get_docstring(ast.parse(source.read_text("utf-8"))) or source.stem
    return about.splitlines()[0].partition(":")[0].rstrip(".")


def _program(source: Path) -> str:
    wide = "---\nhide: [toc]\n---\n\n"
    return f"{wide}# {_title(source)}\n\n`examples/{source.name}`\n\n```python\n{source.read_text('utf-8')}```\n"


def _with_links(markdown: str, folder: str, page: str) -> str:
    """*markdown* of a file in *folder*, with its links as *page* needs them."""

    def relinked(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, match[1]))
        target = _page_of(path)
        if target is None:
            return match[0].partition("](")[0] + f"]({match[1]}{match[2] or ''})"
        return f"]({posixpath.relpath(target, posixpath.dirname(page) or '.')}{match[2] or ''})"

    return LINK.sub(relinked, markdown)


def _page_of(path: str) -> str | None:
    """The page made of a file of the repository, None for what is none."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path.startswith("examples/") and path.endswith(".py"):
        return path.removesuffix(".py") + ".md"
    return AT_THE_ROOT.get(path)
