"""What libraries do when things go wrong, each as it comes: no time is compared here, only what arrives.

    python -m benchmarks.behaviour            # in .venvs/bench, made by `make bench`; two minutes

Each library tracks 25 events in a process of its own, against a server of its own on this machine, four times:

- it ends right after the last call, and the server answers;
- the server answers 503 to the first two requests, and the program goes on for eight seconds;
- it ends right after the last call, and the server never answers: how long until the process is gone?
- it tracks one event, forks, and the child tracks the 25 and ends by ``sys.exit``.
"""

from __future__ import annotations

import gzip
import logging
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from typing import Any, Final

EVENTS: Final = 25
GOES_ON_S: Final = 8.0
GIVE_UP_S: Final = 30.0
NAME: Final = "behaviour-{}"


# --- the libraries, in the measured process --------------------------------------------------------------------


def ours(url: str) -> Callable[[int], Any]:
    from snowplow_tracker import Tracker

    tracker = Tracker.hostname(url)
    return lambda number: tracker.track_struct_event("test", NAME.format(number))


def official(url: str) -> Callable[[int], Any]:
    from snowplow_tracker import Emitter, StructuredEvent, Tracker

    tracker: Any = Tracker("test", Emitter(url, protocol="http"))  # type: ignore[arg-type]
    return lambda number: tracker.track(StructuredEvent("test", NAME.format(number)))


def official_async(url: str) -> Callable[[int], Any]:
    from snowplow_tracker import AsyncEmitter, StructuredEvent, Tracker

    tracker: Any = Tracker("test", AsyncEmitter(url, protocol="http"))
    return lambda number: tracker.track(StructuredEvent("test", NAME.format(number)))


def posthog(url: str) -> Callable[[int], Any]:
    from posthog import Posthog

    client = Posthog("key", host=url)
    return lambda number: client.capture(NAME.format(number), distinct_id="user")


def segment(url: str) -> Callable[[int], Any]:
    from segment.analytics import Client

    client = Client("key", host=url)
    return lambda number: client.track("user", NAME.format(number))


def sentry(url: str) -> Callable[[int], Any]:
    import sentry_sdk

    sentry_sdk.init(url.replace("http://", "http://key@") + "/1")
    return lambda number: sentry_sdk.capture_message(NAME.format(number))


def opentelemetry(url: str) -> Callable[[int], Any]:
    from opentelemetry._logs import LogRecord
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

    provider = LoggerProvider()
    provider.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(endpoint=url + "/v1/logs")))
    logger = provider.get_logger("test")
    return lambda number: logger.emit(LogRecord(body=NAME.format(number)))


LIBRARIES: Final = {
    "this tracker": ours,
    "official": official,
    "official, AsyncEmitter": official_async,
    "PostHog": posthog,
    "Segment": segment,
    "Sentry": sentry,
    "OpenTelemetry logs": opentelemetry,
}
DISTRIBUTIONS: Final = {
    "official": "snowplow-tracker",
    "PostHog": "posthog",
    "Segment": "segment-analytics-python",
    "Sentry": "sentry-sdk",
    "OpenTelemetry logs": "opentelemetry-sdk",
}


def program(library: str, url: str, goes_on_s: float, forks: bool) -> None:
    """What a measured process does; the last thing it writes is when its last line of Python ran."""
    logging.disable()
    track = LIBRARIES[library](url)
    child = None
    if forks:
        track(EVENTS)  # the parent's own; it is not counted
        child = os.fork()
    if not child:
        for number in range(EVENTS):
            track(number)
    else:
        os.waitpid(child, 0)
    time.sleep(goes_on_s)
    print("ended at", time.time(), flush=True)


# --- the server, in this process -------------------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    """Notes which of the 25 it has been sent in a request that it answered with 200."""

    daemon_threads = True

    def __init__(self, failures: int, answers: bool) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.failures, self.answers = failures, answers
        self.arrived: set[int] = set()
        self.ending = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone away is what is being tried here."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
        if not self.server.answers:
            self.server.ending.wait(2 * GIVE_UP_S)
            return
        status = 503 if self.server.failures > 0 else 200
        self.server.failures -= 1
        if status == 200:
            found = re.findall(NAME.format(r"(\d+)").encode(), body)
            self.server.arrived.update(int(number) for number in found if int(number) < EVENTS)
        self.send_response(status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_GET = do_POST

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing."""


def attempt(
    library: str, *, failures: int = 0, answers: bool = True, goes_on_s: float = 0.0, forks: bool = False
) -> str:
    """One run of one library: how many arrived, or where nothing could, how long its process took to end."""
    from benchmarks.run import environment

    server = Server(failures, answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    command = [sys.executable, __file__, library, url, str(goes_on_s), str(int(forks))]
    env = environment(ours=library == "this tracker")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env)
    try:
        said, _ = process.communicate(timeout=GIVE_UP_S)
        ended = time.time()
    except subprocess.TimeoutExpired:
        process.kill()
        return f"over {GIVE_UP_S:.0f} s"
    finally:
        server.ending.set()
        server.shutdown()
        server.server_close()
    if not answers:
        return f"{ended - float(said.split()[-1]):.1f} s"
    return f"{len(server.arrived)} of {EVENTS}"


def main() -> None:
    print("| library | program ends at once | after two 503 | exit, no answer | forked child |")
    print("|---|---|---|---|---|")
    for library in LIBRARIES:
        cells = [
            attempt(library),
            attempt(library, failures=2, goes_on_s=GOES_ON_S),
            attempt(library, answers=False),
            attempt(library, forks=True),
        ]
        name = f"{library} {version(DISTRIBUTIONS[library])}" if library in DISTRIBUTIONS else library
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        program(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4] == "1")
    else:
        main()
