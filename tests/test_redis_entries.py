"""The message format of a Redis Stream: what is an event, and that nothing else gets through."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snowplow_tracker import ValidationError
from snowplow_tracker.payload import fragment, payload_dict, post_body
from snowplow_tracker.redis_entries import MAX_EVENT_BYTES, check_stream, fragment_of, poison_stream, trimmed_key

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PAIRS = st.dictionaries(TEXT.filter(lambda key: key != "stm"), TEXT, min_size=1, max_size=6)
FIELDS = st.dictionaries(
    st.sampled_from([b"v", b"e", b"x", b""]), st.one_of(st.binary(max_size=40), st.just(b"1")), max_size=4
)


@given(PAIRS)
def test_what_a_tracker_encodes_is_an_event(pairs: dict[str, str]) -> None:
    encoded = fragment(b"{", pairs)
    assert fragment_of({b"v": b"1", b"e": encoded}) == encoded
    assert payload_dict(encoded) == pairs


@given(FIELDS)
def test_whatever_lies_in_a_stream_is_an_event_that_can_be_sent_or_nothing(fields: dict[bytes, bytes]) -> None:
    found = fragment_of(fields)
    if found is not None:
        (sent,) = json.loads(post_body([found], sent_at_ms=1))["data"]
        assert sent.pop("stm") == "1"
        assert sent == orjson.loads(found + b"}")


@given(st.binary(max_size=30).map(lambda tail: b'{"a":"b"' + tail))
def test_bytes_behind_an_event_do_not_get_into_the_body(event: bytes) -> None:
    found = fragment_of({b"v": b"1", b"e": event})
    if found is not None:
        assert len(json.loads(post_body([found, found], sent_at_ms=1))["data"]) == 2


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {b"e": b'{"a":"b"'},
        {b"v": b"2", b"e": b'{"a":"b"'},
        {b"v": b"1"},
        {b"v": b"1", b"e": b""},
        {b"v": b"1", b"e": b"{"},
        {b"v": b"1", b"e": b'{"a":"b"}'},
        {b"v": b"1", b"e": b'{"a":"b",'},
        {b"v": b"1", b"e": b'{"a":1'},
        {b"v": b"1", b"e": b'{"a":{"b":"c"}'},
        {b"v": b"1", b"e": b'{"a":null'},
        {b"v": b"1", b"e": b'{"a":"b","stm":"1"'},
        {b"v": b"1", b"e": b'[{"a":"b"'},
        {b"v": b"1", b"e": b'{"a":"\xff"'},
        {b"v": b"1", b"e": b'{"a":"' + b"x" * MAX_EVENT_BYTES + b'"'},
    ],
)
def test_what_is_no_event_of_this_version_is_poison(fields: dict[bytes, bytes]) -> None:
    assert fragment_of(fields) is None


def test_fields_of_a_later_revision_do_no_harm() -> None:
    assert fragment_of({b"v": b"1", b"e": b'{"a":"b"', b"more": b"x"}) == b'{"a":"b"'


def test_what_lies_beside_a_stream_is_in_its_slot_of_a_cluster() -> None:
    """Redis Cluster hashes what stands in the first braces, or the whole name where there are none."""
    assert (trimmed_key("snowplow"), poison_stream("snowplow")) == ("{snowplow}:trimmed", "{snowplow}:poison")
    assert (trimmed_key("a{shop}b"), poison_stream("a{shop}b")) == ("a{shop}b:trimmed", "a{shop}b:poison")


@pytest.mark.parametrize("name", ["", None, 5, b"snowplow"])
def test_a_stream_has_a_name(name: object) -> None:
    with pytest.raises(ValidationError, match="'stream' must be the name of a stream"):
        check_stream(name)
