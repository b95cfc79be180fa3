"""The published schemas, where they are beside this checkout, as a judge for `LocalCollector`."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

import jsonschema

FOLDER: Final = Path(__file__).parents[2] / "shared" / "iglu-schemas"


@cache
def _validator(uri: str) -> Any:
    path = FOLDER / uri.removeprefix("iglu:")
    return jsonschema.Draft4Validator(json.loads(path.read_bytes())) if path.is_file() else None


def complaints(uri: str, data: Any) -> list[str]:
    """What a published schema says against data: `LocalCollector`'s ``check_data``. Nothing, if it is not here."""
    validator = _validator(uri)
    return [] if validator is None else [error.message for error in validator.iter_errors(data)]
