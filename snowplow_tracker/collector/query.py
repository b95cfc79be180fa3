"""Query strings as the enrichment reads them.

Source: enrich ``Loader.scala``, checked against java.net.URI and httpclient 4.5.13 (protocol, "Query string").
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_plus

_ILLEGAL: Final = re.compile(r'[\x00-\x20"<>\\^`{|}\x7f]|%(?![0-9A-Fa-f]{2})')
_SEPARATOR: Final = re.compile(r"[&;]")


def query_fault(query: str) -> str | None:
    """Why a query string loses its payload, as a sentence, or None if it is legal."""
    illegal = _ILLEGAL.search(query)
    if not illegal:
        return None
    found = query[illegal.start() : illegal.start() + 3] if illegal.group() == "%" else illegal.group()
    return f"the query string must be legal in a URI, got {found!r} unescaped at character {illegal.start()}"


def query_pairs(query: str) -> dict[str, str]:
    """The parameters of a legal query string; of two with the same name the last wins.

    Both ``&`` and ``;`` separate, ``+`` is a blank, and what has no name or no ``=`` is left out.
    """
    pairs = {}
    for parameter in _SEPARATOR.split(query):
        name, equals, value = parameter.partition("=")
        if name and equals:
            pairs[unquote_plus(name)] = unquote_plus(value)
    return pairs
