"""`Snowplow` and its configurations: trackers by namespace, and nothing that `Tracker` and `Emitter` do not do."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from inspect import signature
from typing import Any

import attrs
import pytest
import requests

from snowplow_tracker import (
    EmitterConfiguration,
    Snowplow,
    Subject,
    Tracker,
    TrackerConfiguration,
    ValidationError,
)
from snowplow_tracker.settings import EmitterSettings
from snowplow_tracker.testing import LocalCollector


@pytest.fixture(autouse=True)
def nobody_known() -> Iterator[None]:
    Snowplow.reset()
    yield
    Snowplow.reset()


@pytest.fixture
def collector() -> Iterator[LocalCollector]:
    with LocalCollector() as running:
        yield running


def test_a_tracker_is_made_once_and_found_by_its_namespace(collector: LocalCollector) -> None:
    subject = Subject().set_user_id("p1")
    made = Snowplow.create_tracker("game", collector.url, "get", "my-app", subject)
    found = Snowplow.get_tracker("game")
    assert found is made
    assert found.track_page_view("https://acme.com")
    assert found.close()
    collector.assert_tracked(tna="game", aid="my-app", uid="p1", e="pv")
    assert collector.requests[0].method == "GET"


def test_everything_in_the_configurations_reaches_tracker_and_emitter(collector: LocalCollector) -> None:
    arrived: list[Any] = []
    session = requests.Session()
    session.headers["X-Game"] = "chess"
    emitter_config = EmitterConfiguration(
        batch_size=2, on_success=arrived.extend, buffer_capacity=7, session=session, flush_interval=0
    )
    tracker_config = TrackerConfiguration(encode_base64=False, json_encoder=str, event_vendor="com.acme")
    made = Snowplow.create_tracker("game", collector.url, tracker_config=tracker_config, emitter_config=emitter_config)
    with made:
        made.track_unstruct_event("save", {"level": 3})
        assert made.flush()
    (event,) = collector.wait_for(1)
    assert "ue_pr" in event
    assert dict(collector.requests[0].headers)["X-Game"] == "chess"
    assert [payload["eid"] for payload in arrived] == [event["eid"]]
    settings = made.emitters[0].settings
    assert (settings.batch_size, settings.buffer_capacity, settings.flush_interval) == (2, 7, 0)


def test_anonymous_is_said_once_for_both_halves(collector: LocalCollector) -> None:
    config = TrackerConfiguration(anonymous=True)
    with Snowplow.create_tracker("game", collector.url, tracker_config=config) as made:
        made.set_user_id("p1").track_page_view("https://acme.com")
    (event,) = collector.wait_for(1)
    assert "uid" not in event
    assert dict(collector.requests[0].headers)["SP-Anonymous"] == "*"


def test_one_namespace_is_one_tracker() -> None:
    made = Snowplow.create_tracker("game", "127.0.0.1:1")
    for again in (lambda: Snowplow.create_tracker("game", "127.0.0.1:2"), lambda: Snowplow.add_tracker(made)):
        with pytest.raises(TypeError, match=r"namespace 'game' already; Snowplow.get_tracker\('game'\) returns it"):
            again()
    Snowplow.remove_tracker(made)
    assert Snowplow.get_tracker("game") is None
    assert Snowplow.add_tracker(made) is made
    Snowplow.remove_tracker_by_namespace("game")
    Snowplow.remove_tracker_by_namespace("game")
    assert Snowplow.get_tracker("game") is None


def test_what_a_forgotten_tracker_holds_is_still_delivered(collector: LocalCollector) -> None:
    Snowplow.create_tracker("game", collector.url).track_page_view("https://acme.com")
    Snowplow.reset()
    gc.collect()
    collector.wait_for(1, timeout=20)


def test_a_configuration_can_be_read_and_changed_until_the_tracker_is_made() -> None:
    config = EmitterConfiguration(5, None, None, 1000, 2.5, 50)
    assert (config.batch_size, config.byte_limit, config.request_timeout, config.buffer_capacity) == (5, 1000, 2.5, 50)
    assert config.event_store is None
    config.batch_size = 6
    assert config.set_retry_code(404, False) is True
    assert config.set_retry_code(503) is True
    assert config.set_retry_code(200) is False
    settings = Snowplow.create_tracker("game", "127.0.0.1:1", emitter_config=config).emitters[0].settings
    assert settings.batch_size == 6
    assert settings.custom_retry_codes == {404: False, 503: True, 200: True}
    assert repr(TrackerConfiguration(False)) == "TrackerConfiguration(encode_base64=False)"


def test_a_configuration_knows_every_setting_there_is() -> None:
    settings = {field.name for field in attrs.fields(EmitterSettings)} - {"endpoint", "method", "transport"}
    assert set(vars(EmitterConfiguration())) == settings
    options = set(signature(Tracker).parameters) - {"namespace", "emitters", "subject", "app_id"}
    assert set(vars(TrackerConfiguration())) == options


WRONG: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: EmitterConfiguration(batch_sise=5), TypeError, "EmitterConfiguration() has no option 'batch_sise'; did"),
    (lambda: EmitterConfiguration(*range(10)), TypeError, "at most 9 positional arguments, got 10"),
    (lambda: EmitterConfiguration(5, batch_size=5), TypeError, "multiple values for argument 'batch_size'"),
    (lambda: EmitterConfiguration(batch_size="5"), ValidationError, "EmitterConfiguration(): 'batch_size' must be a"),
    (lambda: EmitterConfiguration().set_retry_code("404"), ValidationError, "such as {404: False}"),
    (lambda: setattr(EmitterConfiguration(), "byte_limits", 5), TypeError, "did you mean 'byte_limit'?"),
    (lambda: TrackerConfiguration("yes"), ValidationError, "TrackerConfiguration(): 'encode_base64' must be True"),
    (lambda: Snowplow.create_tracker("game", None), ValidationError, "create_tracker(): 'endpoint' must be the coll"),
    (lambda: Snowplow.create_tracker(None, "c.acme.com"), ValidationError, "create_tracker(): 'namespace' must be a"),
    (lambda: Snowplow.create_tracker("game", "ftp://c"), ValidationError, "a scheme is http or https"),
    (
        lambda: Snowplow.create_tracker("game", "c.acme.com", emitter_config=TrackerConfiguration()),
        ValidationError,
        "'emitter_config' must be None or made by EmitterConfiguration(…)",
    ),
    (lambda: Snowplow.add_tracker(Tracker.hostname("127.0.0.1:1")), ValidationError, "a Tracker with a namespace"),
    (lambda: Snowplow.add_tracker("game"), ValidationError, "Snowplow.add_tracker(): 'tracker' must be a Tracker"),
]


@pytest.mark.parametrize(("call", "kind", "words"), WRONG)
def test_a_wrong_call_is_named_and_leaves_nothing_behind(
    call: Callable[[], Any], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert words in str(caught.value)
    assert Snowplow.get_tracker("game") is None
