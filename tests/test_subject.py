"""A subject renders what was set, in the pipeline's forms, and stays as it was when a setter is refused."""

from __future__ import annotations

import json
from enum import Enum, IntEnum
from typing import Any

import pytest
from hypothesis import given
from strategies import required_texts

from snowplow_tracker.errors import ValidationError
from snowplow_tracker.subject import PLATFORMS, Subject

SID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"


class Platform(str, Enum):
    CONSOLE = "cnsl"


class Depth(IntEnum):
    TRUE_COLOR = 24


SET: list[tuple[str, tuple[Any, ...], str, str]] = [
    ("set_platform", ("cnsl",), "p", "cnsl"),
    ("set_user_id", ("anna",), "uid", "anna"),
    ("set_screen_resolution", (1366, 768), "res", "1366x768"),
    ("set_viewport", (1, 2147483647), "vp", "1x2147483647"),
    ("set_color_depth", (24,), "cd", "24"),
    ("set_timezone", ("Europe/London",), "tz", "Europe/London"),
    ("set_lang", ("de-AT",), "lang", "de-AT"),
    ("set_domain_user_id", ("5beb1f92",), "duid", "5beb1f92"),
    ("set_domain_session_id", (SID,), "sid", SID),
    ("set_domain_session_index", (0,), "vid", "0"),
    ("set_ip_address", ("2001:db8::1",), "ip", "2001:db8::1"),
    ("set_useragent", ("Game/1.0 (PC)",), "ua", "Game/1.0 (PC)"),
    ("set_network_user_id", ("abc",), "tnuid", "abc"),
]


def decoded(subject: Subject, anonymous: bool = False) -> dict[str, str]:
    encoded = subject.encoded(anonymous)
    assert encoded.endswith(b",")
    pairs: dict[str, str] = json.loads(b"{" + encoded[:-1] + b"}")
    return pairs


@pytest.mark.parametrize(("setter", "arguments", "key", "text"), SET)
def test_what_is_set_is_sent_and_none_clears_it(setter: str, arguments: tuple[Any, ...], key: str, text: str) -> None:
    subject = Subject()
    assert getattr(subject, setter)(*arguments) is subject
    assert subject.standard_nv_pairs == {"p": "pc", key: text}
    assert decoded(subject) == {"p": "pc", key: text}
    assert getattr(subject, setter)(*[None] * len(arguments)) is subject
    assert subject.standard_nv_pairs == {"p": "pc"}
    assert decoded(subject) == {"p": "pc"}


def test_setters_chain() -> None:
    subject = Subject().set_platform("web").set_user_id("anna").set_lang("en")
    assert subject.standard_nv_pairs == {"p": "web", "uid": "anna", "lang": "en"}


@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_platform_of_the_pipeline_is_taken(platform: str) -> None:
    assert Subject().set_platform(platform).standard_nv_pairs["p"] == platform


def test_enum_members_are_sent_by_value() -> None:
    subject = Subject().set_platform(Platform.CONSOLE).set_color_depth(Depth.TRUE_COLOR)
    assert decoded(subject) == {"p": "cnsl", "cd": "24"}


REFUSED: list[tuple[str, tuple[Any, ...], str]] = [
    ("set_platform", ("PC",), "'value' must be one of web, mob, pc"),
    ("set_platform", ("",), "'value' must be one of"),
    ("set_platform", (b"pc",), "'value' must be one of"),
    ("set_user_id", ("",), "'user_id' must be a non-empty string, got ''"),
    ("set_user_id", (23,), "'user_id' must be a non-empty string, got 23 (int)"),
    ("set_user_id", ("a\x00",), "control characters"),
    ("set_screen_resolution", (0, 768), "'width' must be a positive integer (pixels), got 0 (int)"),
    ("set_screen_resolution", (1366, -1), "'height' must be a positive integer (pixels), got -1 (int)"),
    ("set_screen_resolution", (1366, None), "'height' must be"),
    ("set_screen_resolution", (True, 768), "'width' must be"),
    ("set_viewport", (2147483648, 1), "of at most 2147483647"),
    ("set_viewport", (1.0, 1), "'width' must be"),
    ("set_color_depth", ("walrus",), "'depth' must be a positive integer (bits per pixel), got 'walrus' (str)"),
    ("set_color_depth", (0,), "'depth' must be"),
    ("set_domain_session_id", ("session",), "'sid' must be a UUID"),
    ("set_domain_session_id", ("",), "'sid' must be a UUID"),
    ("set_domain_session_index", (-1,), "'vid' must be an integer between 0 and 2147483647"),
    ("set_domain_session_index", (2147483648,), "'vid' must be an integer between"),
    ("set_domain_session_index", (True,), "'vid' must be an integer"),
    ("set_timezone", ("\ud800",), "lone surrogate"),
    ("set_lang", (b"en",), "decode it first"),
]


@pytest.mark.parametrize(("setter", "arguments", "words"), REFUSED)
def test_a_refused_value_leaves_the_old_one(setter: str, arguments: tuple[Any, ...], words: str) -> None:
    subject = Subject()
    for other, good, _, _ in SET:
        getattr(subject, other)(*good)
    before = subject.standard_nv_pairs
    with pytest.raises(ValidationError) as caught:
        getattr(subject, setter)(*arguments)
    assert str(caught.value).startswith(f"Subject.{setter}(): ")
    assert words in str(caught.value)
    assert subject.standard_nv_pairs == before == decoded(subject)


@pytest.mark.parametrize(
    ("setter", "key", "limit"),
    [
        ("set_user_id", "uid", 255),
        ("set_timezone", "tz", 255),
        ("set_lang", "lang", 255),
        ("set_domain_user_id", "duid", 128),
        ("set_ip_address", "ip", 128),
        ("set_useragent", "ua", 1000),
        ("set_network_user_id", "tnuid", 128),
    ],
)
def test_text_fits_up_to_the_limit_of_its_key_and_no_further(setter: str, key: str, limit: int) -> None:
    for text in ("x" * limit, "x" * (limit % 2) + "😀" * (limit // 2)):
        assert getattr(Subject(), setter)(text).standard_nv_pairs[key] == text
        with pytest.raises(ValidationError, match=f"at most {limit} characters long"):
            getattr(Subject(), setter)(text + "x")


def test_an_anonymous_head_has_nothing_that_tells_users_apart() -> None:
    subject = Subject()
    for setter, arguments, _, _ in SET:
        getattr(subject, setter)(*arguments)
    assert set(decoded(subject, anonymous=True)) == {"p", "res", "vp", "cd", "tz", "lang", "ua"}
    assert set(decoded(subject)) == {key for _, _, key, _ in SET}


def test_an_events_subject_wins_key_by_key_and_changes_neither() -> None:
    mine, theirs = Subject().set_user_id("anna"), Subject().set_user_id("ben").set_lang("en")
    merged = mine.merged_over(theirs)
    assert merged.standard_nv_pairs == {"p": "pc", "uid": "anna", "lang": "en"}
    merged.set_lang(None)
    assert theirs.standard_nv_pairs == {"p": "pc", "uid": "ben", "lang": "en"}
    assert mine.standard_nv_pairs == {"p": "pc", "uid": "anna"}


def test_a_subject_without_a_platform_does_not_bring_the_default_along() -> None:
    assert Subject().merged_over(Subject().set_platform("web")).standard_nv_pairs == {"p": "web"}


def test_what_is_set_while_another_thread_encodes_is_not_lost() -> None:
    class Interrupted(Subject):
        """Is set by "another thread" between reading its pairs and keeping what was made of them."""

        armed = True

        @property
        def standard_nv_pairs(self) -> dict[str, str]:
            pairs = super().standard_nv_pairs
            if self.armed:
                self.armed = False
                self.set_user_id(None)
            return pairs

    subject = Interrupted()
    subject.set_user_id("anna")
    assert decoded(subject)["uid"] == "anna"
    assert "uid" not in decoded(subject)


@given(required_texts(255))
def test_any_text_arrives_as_it_was_set(text: str) -> None:
    assert decoded(Subject().set_user_id(text))["uid"] == text
