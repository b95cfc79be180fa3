"""The examples that stand on somebody else's framework, run as a user would run them. Runs in `make test-once`."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from processes import ROOT, environment, wait_until

from snowplow_tracker.testing import LocalCollector

pytestmark = pytest.mark.once

PATIENCE_S = 60.0


@pytest.fixture
def collector() -> Iterator[LocalCollector]:
    with LocalCollector() as running:
        yield running


class Server:
    """A process that serves, and what it has logged so far."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def said(self) -> str:
        return self._log.read_text("utf-8", errors="replace")

    def end(self) -> int:
        """Tell it to end, as a service manager does; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)


@contextmanager
def serving(folder: Path, *command: str, **env: str) -> Iterator[Server]:
    """Run ``python -m`` with *command* in the repository for as long as the block lasts."""
    log = folder / "log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=ROOT, env=environment(env), stdout=stream, stderr=stream
        )
    try:
        yield Server(process, log)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def post(url: str, user: str) -> int:
    request = urllib.request.Request(url, method="POST", headers={"X-User": user, "User-Agent": "test/1"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return int(answer.status)


def test_the_web_application_tracks_every_order_of_every_worker(collector: LocalCollector, tmp_path: Path) -> None:
    gunicorn = ("gunicorn", "--workers", "2", "--bind", "127.0.0.1:0", "examples.flask_app:create_app()")
    with serving(tmp_path, *gunicorn, SNOWPLOW_COLLECTOR=collector.url) as server:
        wait_until(lambda: server.said.count("Booting worker") == 2, PATIENCE_S, "two workers")
        listening = re.search(r"Listening at: (\S+)", server.said)
        assert listening
        address = listening[1]
        assert [post(f"{address}/orders/sword?quantity=2", f"user-{number}") for number in range(20)] == [201] * 20
        with urllib.request.urlopen(f"{address}/health", timeout=10) as answer:
            assert json.loads(answer.read())["lost"] == 0
        assert server.end() == 0, server.said  # at once: what is queued then is delivered on the way out
    orders = collector.assert_tracked(times=20, e="se", aid="shop", p="srv", se_la="sword", se_va="19.0", ua="test/1")
    assert {order["uid"] for order in orders} == {f"user-{number}" for number in range(20)}
    assert {order["contexts"][0]["data"]["item"] for order in orders} == {"sword"}
    assert collector.bad == []


SEND = """
from examples.celery_worker import send_invoice
for number in range(10):
    send_invoice.delay(f"order-{number}", 9.5)
send_invoice.delay("order-bad", -1)
"""


def test_a_celery_worker_delivers_what_its_tasks_tracked_when_it_is_told_to_stop(
    collector: LocalCollector, tmp_path: Path
) -> None:
    broker = tmp_path / "broker"
    env = {"SNOWPLOW_COLLECTOR": collector.url, "BROKER_FOLDER": str(broker)}
    collector.fail(503, headers={"Retry-After": "50"})  # so that what is tracked is still there at the end
    worker = ("celery", "--app", "examples.celery_worker", "worker", "--concurrency", "2", "--loglevel", "INFO")
    with serving(tmp_path, *worker, **env) as server:
        sending = [sys.executable, "-c", SEND]
        sent = subprocess.run(sending, cwd=ROOT, env=environment(env), capture_output=True, text=True, timeout=60)
        assert sent.returncode == 0, sent.stderr
        wait_until(lambda: len(re.findall("succeeded in|raised unexpected", server.said)) == 11, PATIENCE_S, "11 tasks")
        wait_until(lambda: len(collector.requests) >= 1, PATIENCE_S, "a request")
        collector.recover()
        assert server.end() == 0, server.said
    assert Counter(event["e"] for event in collector.events) == {"ue": 10, "se": 12}, server.said
    collector.assert_tracked(se_ac="failed", se_la="examples.celery_worker.send_invoice", se_pr="ValueError")
    collector.assert_tracked(times=10, se_ac="ended", se_pr="SUCCESS")
    collector.assert_tracked(data={"order_id": "order-7", "total": 9.5}, aid="worker", p="srv")
    assert collector.bad == []


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    env = environment({"SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy"})
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=60, env=env)


def test_the_game_in_a_window_plays_and_tracks_without_a_screen(collector: LocalCollector) -> None:
    ended = run("-m", "examples.pygame_window", "--seconds", "2.5", "--collector", collector.url)
    assert ended.returncode == 0, ended.stderr
    (over,) = collector.assert_tracked(
        e="ue", aid="snowfall", data={"schema": "iglu:com.acme/game-over/jsonschema/1-0-0"}
    )
    tracked = Counter(event.get("se_ac") for event in collector.events)
    assert over["data"]["data"] == {"caught": tracked["caught"], "missed": tracked["missed"]}
    assert tracked["caught"] + tracked["missed"] >= 1
    assert collector.bad == []


def test_the_game_in_a_window_plays_on_without_a_collector() -> None:
    ended = run("-W", "error", "-m", "examples.pygame_window", "--seconds", "0.3", "--collector", "http://127.0.0.1:1")
    assert ended.returncode == 0, ended.stderr
    assert "'shutdown': 2" in ended.stdout
