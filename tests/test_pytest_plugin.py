"""The fixtures, as the test suite of somebody else's project uses them: in a pytest of its own."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from processes import environment

# Starting a pytest takes half a second and more: the tests below read what one run of this project's suite said.
# The suite around them uses no fixture of the plugin itself: their collector stays in the process, and some tests look
# for threads and sockets that a collector has left behind.
PROJECT = """
    import pytest

    import snowplow_tracker as package
    from snowplow_tracker import SelfDescribingJson, Tracker


    def test_both_fixtures_are_there(snowplow_tracker, snowplow_collector):
        assert isinstance(snowplow_tracker, package.Tracker)
        snowplow_tracker.track_struct_event("shop", "add-to-basket", value=2)
        snowplow_tracker.track_unstruct_event("save-game", {"level": 3, "hard": True})
        snowplow_collector.assert_tracked(e="se", se_ca="shop", se_va=2, times=1)
        snowplow_collector.assert_tracked(data={"level": 3}, aid="pytest")
        assert snowplow_collector.bad == []


    @pytest.mark.parametrize("trouble", ["fail", "black_hole", "drop_connection", "stop", "latency"])
    def test_trouble(snowplow_tracker, snowplow_collector, trouble):
        assert snowplow_collector.events == snowplow_collector.requests == snowplow_collector.bad == []
        snowplow_tracker.track_page_view("https://acme.com/before")
        snowplow_collector.wait_for(1)
        arguments = {"latency": (30.0,)}.get(trouble, ())
        getattr(snowplow_collector, trouble)(*arguments)
        snowplow_tracker.track_page_view("https://acme.com/after")


    def test_peace_after_trouble(snowplow_tracker, snowplow_collector):
        assert snowplow_collector.events == snowplow_collector.requests == []
        snowplow_tracker.track_page_view("https://acme.com/")
        assert len(snowplow_collector.wait_for(1)) == 1


    def test_an_outage(snowplow_tracker, snowplow_collector):
        snowplow_collector.fail(503, times=2)
        snowplow_tracker.track_screen_view("Shop")
        snowplow_collector.assert_tracked(e="ue", data={"name": "Shop"}, timeout=10)
        assert snowplow_tracker.flush()
        assert snowplow_tracker.stats().retries >= 2


    def test_a_miss(snowplow_tracker, snowplow_collector):
        user = SelfDescribingJson("iglu:com.acme/user/jsonschema/1-0-0", {"type": "tester"})
        snowplow_tracker.track_page_view("https://acme.com/")
        snowplow_tracker.track_struct_event("shop", "add-to-cart", context=[user])
        snowplow_tracker.flush()
        wanted = {"se_ca": "shop", "se_ac": "add-to-basket", "contexts": ["iglu:com.acme/player/jsonschema/1-0-0"]}
        snowplow_collector.assert_tracked(timeout=0.1, **wanted)


    class TestWithATrackerOfItsOwn:
        @pytest.fixture
        def snowplow_tracker(self, snowplow_collector):
            with Tracker.hostname(snowplow_collector.url, app_id="salvage", event_vendor="com.acme") as tracker:
                yield tracker

        def test_tracking(self, snowplow_tracker, snowplow_collector):
            snowplow_tracker.track_page_view("https://acme.com/")
            snowplow_collector.assert_tracked(aid="salvage")
    """

XDIST = """
    import pytest

    @pytest.mark.parametrize("number", range(8))
    def test_tracking(snowplow_tracker, snowplow_collector, number):
        snowplow_tracker.track_struct_event("test", "track", str(number))
        (event,) = snowplow_collector.wait_for(1, timeout=20)
        assert event["se_la"] == str(number)
    """

NO_SNOWPLOW = """
    import sys

    def test_nothing_of_snowplow():
        assert "pytest_snowplow_tracker" in sys.modules
        assert [name for name in sys.modules if name.split(".")[0] in ("snowplow_tracker", "requests")] == []
    """

UNITTEST = """
    import unittest
    from snowplow_tracker import Tracker
    from snowplow_tracker.testing import LocalCollector

    class SavingTest(unittest.TestCase):
        def setUp(self):
            self.collector = LocalCollector().start()
            self.addCleanup(self.collector.stop)

        def test_saving_is_tracked(self):
            with Tracker.hostname(self.collector.url) as tracker:
                tracker.track_screen_view("Saved")
            self.collector.assert_tracked(data={"name": "Saved"})

        def test_nothing_is_tracked(self):
            with LocalCollector() as collector:
                collector.assert_tracked(times=0, timeout=0.05)

    unittest.main()
    """


def run_python(folder: Path, program: str, *command: str) -> str:
    """Run a program that was written to ``test_project.py``; what it said."""
    (folder / "test_project.py").write_text(textwrap.dedent(program), encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, *command],
        cwd=folder, env=environment(), capture_output=True, encoding="utf-8", timeout=60, check=False,
    )  # fmt: skip
    return ended.stdout + ended.stderr


def run_pytest(folder: Path, tests: str, *options: str) -> str:
    """Run a project's tests, with warnings as errors, as a careful project has it."""
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n", encoding="utf-8")
    return run_python(folder, tests, "-m", "pytest", "-rA", "-p", "no:randomly", "-p", "no:cacheprovider", *options)


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    return run_pytest(tmp_path_factory.mktemp("project"), PROJECT, "--durations=0")


def outcomes(said: str) -> dict[str, str]:
    """From a test's name to ``PASSED``, ``FAILED`` or ``ERROR``."""
    return {name: word for word, name in re.findall(r"^(PASSED|FAILED|ERROR) \S+?::(\S+)", said, re.MULTILINE)}


@pytest.mark.parametrize(
    "name",
    [
        "test_both_fixtures_are_there",
        "test_peace_after_trouble",
        "test_an_outage",
        "TestWithATrackerOfItsOwn::test_tracking",
        *[f"test_trouble[{trouble}]" for trouble in ("fail", "black_hole", "drop_connection", "stop", "latency")],
    ],
)
def test_a_projects_test_passes_without_a_line_of_set_up(said: str, name: str) -> None:
    assert outcomes(said)[name] == "PASSED", said


def test_a_collector_that_a_test_leaves_in_trouble_does_not_hold_up_its_end(said: str) -> None:
    teardowns = [float(seconds) for seconds in re.findall(r"([\d.]+)s teardown", said)]
    # Closing a tracker may wait two seconds for a collector that does not answer.
    assert max(teardowns, default=0) < 1.5, said


def test_a_miss_shows_the_nearest_events_and_what_differs(said: str) -> None:
    assert outcomes(said)["test_a_miss"] == "FAILED"
    assert "se_ac is 'add-to-cart', not 'add-to-basket'" in said
    assert "none of its contexts is 'iglu:com.acme/player/jsonschema/1-0-0'" in said
    assert "(it has iglu:com.acme/user/jsonschema/1-0-0)" in said
    assert ">       snowplow_collector.assert_tracked(timeout=0.1, **wanted)" in said
    assert "self._journal" not in said, "the test's own line is what failed, not one of ours"


def test_workers_of_xdist_do_not_see_each_others_events(tmp_path: Path) -> None:
    said = run_pytest(tmp_path, XDIST, "-n", "2")
    assert list(outcomes(said).values()) == ["PASSED"] * 8, said


def test_a_project_that_uses_no_fixture_does_not_import_the_package(tmp_path: Path) -> None:
    said = run_pytest(tmp_path, NO_SNOWPLOW)
    assert outcomes(said) == {"test_nothing_of_snowplow": "PASSED"}, said


def test_the_fixtures_introduce_themselves(tmp_path: Path) -> None:
    said = run_pytest(tmp_path, "", "--fixtures")
    listed = said[said.index("pytest_snowplow_tracker") :]
    assert re.search(r"^snowplow_collector .*\n    A Snowplow collector on this machine", listed, re.MULTILINE)
    assert re.search(r"^snowplow_tracker .*\n    A tracker that sends to", listed, re.MULTILINE)
    assert "_snowplow_collector_process" not in listed


def test_the_collector_serves_a_unittest_as_a_context_manager(tmp_path: Path) -> None:
    said = run_python(tmp_path, UNITTEST, "-W", "error", "test_project.py")
    assert "Ran 2 tests" in said
    assert said.endswith("OK\n"), said
