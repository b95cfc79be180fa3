"""How far a file has been replayed, kept in a small file beside it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Final

from snowplow_tracker.cli.json_lines import Place

_HEAD_BYTES: Final = 4096


class Bookmark:
    """The place up to which every line of a file is settled, for one collector.

    Args:
        file: The file that is replayed; the bookmark is ``FILE.replay``.
        collector: Where it is replayed to.
    """

    def __init__(self, file: Path, collector: str) -> None:
        self.path = file.with_name(f"{file.name}.replay")
        self.file = file
        self._collector = collector

    def read(self) -> Place:
        """Where to go on; the beginning, if there is no bookmark for this collector and these contents."""
        try:
            kept = json.loads(self.path.read_text("utf-8"))
            place = Place(int(kept["line"]), int(kept["offset"]))
            belongs = kept["collector"] == self._collector and kept["head"] == self._head(place)
        except (OSError, ValueError, KeyError, TypeError):
            return Place()
        return place if belongs and place.offset <= self.file.stat().st_size else Place()

    def write(self, place: Place) -> None:
        """Note that everything before *place* is settled; a crash leaves the old note or the new one.

        Raises:
            OSError: The folder can't be written to.
        """
        kept = {
            "collector": self._collector,
            "line": place.line,
            "offset": place.offset,
            "head": self._head(place),
        }
        draft = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        draft.write_text(json.dumps(kept), encoding="utf-8")
        draft.replace(self.path)

    def remove(self) -> None:
        """The file is done with."""
        with contextlib.suppress(OSError):
            self.path.unlink()

    def _head(self, place: Place) -> str:
        """What tells the file from another of its name: its first bytes, as far as they were replayed."""
        with self.file.open("rb") as stream:
            return hashlib.sha256(stream.read(min(_HEAD_BYTES, place.offset))).hexdigest()
