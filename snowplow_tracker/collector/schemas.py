"""Folders of JSON Schemas in the layout of Iglu, and what they say of data: ``vendor/name/format/version``.

Needs the extra ``schemas`` (jsonschema). Source: iglu-scala-client, json-schema-validator (protocol, "Self-describing
JSON"). Nothing is looked up outside the folders, so a ``$ref`` to another file does not resolve.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jsonschema import Draft4Validator

from snowplow_tracker.collector.draft4 import InvalidSchema, Unusable, errors, sentence, validator

_KEY: Final = re.compile(
    r"(?P<vendor>[A-Za-z0-9\-_.]+)/(?P<name>[A-Za-z0-9\-_]+)/(?P<format>[A-Za-z0-9\-_]+)"
    r"/(?P<version>[1-9][0-9]*-(?:0|[1-9][0-9]*)-(?:0|[1-9][0-9]*))"
)
_STANDARD: Final = ("com.snowplowanalytics.", "com.google.analytics", "org.w3", "org.ietf")
"""Vendors whose schemas the pipeline finds in Iglu Central, whatever a developer has in a folder."""
_MAX_FAULTS: Final = 20


@dataclass(slots=True)
class _Loaded:
    """A schema's file as it was when it was read; *fault* says why it can't be used."""

    stamp: tuple[int, int]
    validator: Draft4Validator | None
    fault: str | None


class SchemaFolders:
    """The schemas in one or more folders; an edited file counts from its next use.

    Args:
        folders: Each holds ``vendor/name/format/version``, itself or in ``schemas/``; the first that has a schema wins.

    Raises:
        NotADirectoryError: One of them is no folder.
    """

    def __init__(self, folders: Sequence[str | Path]) -> None:
        self._folders = [Path(folder) for folder in folders]
        for folder in self._folders:
            if not folder.is_dir():
                raise NotADirectoryError(f"schemas must be in a folder, got {str(folder)!r}")
        self._roots = [root for folder in self._folders for root in (folder, folder / "schemas") if root.is_dir()]
        self._loaded: dict[Path, _Loaded] = {}

    def check(self, schema: str, data: Any) -> list[str]:
        """What is wrong with *data* by the schema at an Iglu URI, a sentence each; a `SchemaCheck`."""
        path = self._find(schema)
        if path is None:
            return self._missing(schema)
        loaded = self._load(path)
        if loaded.validator is None:
            return [f"its schema cannot be used: {loaded.fault}"]
        return _faults(loaded.validator, data, schema)

    def text(self, key: str) -> bytes | None:
        """The file of a schema by ``vendor/name/format/version``, or None if it is in no folder."""
        path = self._find(key)
        return path.read_bytes() if path else None

    @property
    def lacks_standard(self) -> bool:
        """Whether no folder has schemas of Snowplow's own, so that standard events pass unchecked."""
        return not self._has_vendor("com.snowplowanalytics.snowplow")

    def count(self) -> int:
        """How many schemas there are."""
        return sum(1 for root in self._roots for path in root.glob("*/*/jsonschema/*") if path.is_file())

    def _find(self, schema: str) -> Path | None:
        matched = _KEY.fullmatch(schema.removeprefix("iglu:"))
        # Names of dots alone would lead out of the folder; every other name is that of something within it.
        if not matched or not matched["vendor"].strip("."):
            return None
        candidates = (root.joinpath(*matched.groups()) for root in self._roots)
        return next((path for path in candidates if path.is_file()), None)

    def _load(self, path: Path) -> _Loaded:
        status = path.stat()
        stamp = (status.st_mtime_ns, status.st_size)
        loaded = self._loaded.get(path)
        if loaded is None or loaded.stamp != stamp:
            loaded = self._loaded[path] = _loaded(path, stamp)
        return loaded

    def _has_vendor(self, vendor: str) -> bool:
        return any((root / vendor).is_dir() for root in self._roots)

    def _missing(self, schema: str) -> list[str]:
        matched = _KEY.fullmatch(schema.removeprefix("iglu:"))
        if not matched:
            return [f"its schema must be an Iglu URI, got {schema!r}"]
        if matched["vendor"].startswith(_STANDARD) and not self._has_vendor(matched["vendor"]):
            return []
        folders = " or ".join(str(folder) for folder in self._folders)
        return [f"its schema {schema} must be in {folders}, where it is not{self._nearest(matched)}"]

    def _nearest(self, wanted: re.Match[str]) -> str:
        vendor, name, form, version = wanted.groups()
        names = self._children(vendor)
        if name in names:
            return f" (of {name} there is {', '.join(sorted(self._children(vendor, name, form))) or 'no version'})"
        close = difflib.get_close_matches(name, names, 1)
        if close:
            return f" (did you mean {close[0]!r}?)"
        return f" (add the file {vendor}/{name}/{form}/{version})"

    def _children(self, *parts: str) -> list[str]:
        found = (root.joinpath(*parts) for root in self._roots)
        return [child.name for folder in found if folder.is_dir() for child in folder.iterdir()]


def _loaded(path: Path, stamp: tuple[int, int]) -> _Loaded:
    try:
        return _Loaded(stamp, validator(json.loads(path.read_bytes())), None)
    except InvalidSchema as error:
        return _Loaded(stamp, None, f"{path} is not a JSON Schema of draft 4 ({error})")
    except (ValueError, RecursionError) as error:
        return _Loaded(stamp, None, f"{path} is not JSON ({error})")


def _faults(rules: Draft4Validator, data: Any, schema: str) -> list[str]:
    try:
        found = [f"{sentence(error)}, says {schema}" for error in errors(rules, data)]
    except Unusable as error:
        return [f"its schema cannot be used: {schema} {error}"]
    left_out = len(found) - _MAX_FAULTS
    return [*found[:_MAX_FAULTS], f"and {left_out} more"] if left_out > 0 else found
