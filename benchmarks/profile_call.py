"""Where the time of a call goes, and the emitter thread's: ``python -m benchmarks.profile_call``.

    --call      each step of `track_struct_event` timed by itself, in µs (what is left over is the calls between them)
    --worker    the emitter thread's steps for one batch, in µs of CPU an event, against a sink in another process
    --cprofile  both again under cProfile: for what calls what; its own cost is in every number, so not for how much

Steps are timed from outside, on the real objects, so this file names private parts of them: it is the one benchmark
that does, and it has to be changed with them. For a picture without any names, use py-spy on a run of the whole path:

    python -m benchmarks.profile_call --serve 30 &      # tracks and delivers for 30 s, prints its pid
    py-spy record --gil --duration 10 --format speedscope --output call.json --pid <pid>
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
from collections.abc import Callable
from statistics import median
from time import monotonic, perf_counter_ns, thread_time_ns, time_ns
from typing import Any, Final

from benchmarks import libraries as values
from benchmarks.bench_call import QuietTracker, pairs_of_the_event
from benchmarks.sink import SinkControl, SinkProcess

_ARGUMENTS: Final = (values.CATEGORY, values.ACTION, values.LABEL, values.PROPERTY, values.VALUE)


def cost_us(step: Callable[[], Any], *, repeat: int = 15, calls: int = 5000) -> float:
    """The median over *repeat* rounds of what one call takes, an empty call subtracted."""

    def round_us(function: Callable[[], Any]) -> float:
        start = perf_counter_ns()
        for _ in range(calls):
            function()
        return (perf_counter_ns() - start) / calls / 1000

    return median(round_us(step) - round_us(_nothing) for _ in range(repeat))


def _nothing() -> None:
    """An empty call."""


def call_steps(calls: int = 5000) -> dict[str, float]:
    """The steps of one call, in order, each by itself; ``whole`` is the call they are part of."""
    from snowplow_tracker import lifecycle
    from snowplow_tracker.event_ids import new_event_id
    from snowplow_tracker.events import StructuredEvent, plain_struct_pairs
    from snowplow_tracker.outcomes import Receipt
    from snowplow_tracker.payload import encode_pairs, fragment

    pairs_sent = pairs_of_the_event()
    quiet = QuietTracker()
    tracker, emitter = quiet.tracker, quiet.tracker.emitters[0]
    quiet.call()
    event = StructuredEvent(*_ARGUMENTS)
    pairs = {**event.pairs(tracker._form), "eid": new_event_id(), "dtm": str(time_ns() // 1_000_000)}
    head = b"{" + encode_pairs({key: pairs_sent[key] for key in ("tv", "tna", "aid", "p", "uid", "res")}) + b","
    encoded = fragment(head, pairs)
    steps: dict[str, Callable[[], Any]] = {
        "whole": quiet.call,
        "whole, the long way (with tstamp)": quiet.long_call,
        "the long way alone:": _nothing,
        "  StructuredEvent(...), validated": lambda: StructuredEvent(*_ARGUMENTS),
        "  event.pairs": lambda: event.pairs(tracker._form),
        "  _encode, with event.pairs": lambda: tracker._encode(event),
        "the short way alone:": _nothing,
        "  plain_struct_pairs": lambda: plain_struct_pairs(*_ARGUMENTS),
        "both ways:": _nothing,
        "  check_process": lifecycle.check_process,
        "  new_event_id": new_event_id,
        "  dtm": lambda: str(time_ns() // 1_000_000),
        "  _head": lambda: tracker._head(tracker._subject),
        "  fragment (orjson, joined)": lambda: fragment(head, pairs),
        "  emitter.emit": lambda: emitter.emit(encoded),
        "  Receipt": lambda: Receipt("id", None),
    }
    found = {}
    for name, step in steps.items():
        try:
            found[name] = cost_us(step, calls=calls)
        except AttributeError as error:
            raise SystemExit(f"the step {name.strip()!r} is no longer there ({error}): change call_steps()") from None
        quiet.forget()
    return found


def worker_steps(sink: SinkControl, batch_size: int, batches: int = 100) -> dict[str, float]:
    """The emitter thread's steps, in this thread: µs of CPU an event, the median over the batches."""
    from snowplow_tracker import Emitter
    from snowplow_tracker.payload import post_body

    emitter = Emitter(sink.url, batch_size=batch_size, buffer_capacity=values.MANY, buffer_bytes=values.MANY * 1000)
    delivery = emitter._delivery
    delivery._wake_at = values.MANY  # no thread is started: this one does its work
    tracker = values.our_tracker(emitter)
    for _ in range(batches * batch_size):
        tracker.track_struct_event(*_ARGUMENTS)
    found: dict[str, list[float]] = {}

    def timed(name: str, step: Callable[[], Any]) -> Any:
        start = thread_time_ns()
        result = step()
        found.setdefault(name, []).append((thread_time_ns() - start) / batch_size / 1000)
        return result

    for _ in range(batches):
        timed("_await_work", delivery._await_work) if len(delivery._store) >= batch_size else None
        batch = timed("_claim", delivery._claim)
        events = batch.claim.events
        timed("send", lambda: delivery._transport.send(events, None))
        timed("  of that: post_body", lambda: post_body(events, sent_at_ms=1369330909000))
        timed("settle", lambda: delivery._settle(batch, None))
        timed("put down", lambda: delivery._put_down(batch))
    return {name: median(told) for name, told in found.items()}


def _profiled(title: str, work: Callable[[], Any], lines: int = 25) -> None:
    profile = cProfile.Profile()
    profile.runcall(work)
    print(f"\n{title}, under cProfile")
    pstats.Stats(profile).strip_dirs().sort_stats("tottime").print_stats(lines)


def _profile_worker(sink: SinkControl, batch_size: int, batches: int = 200) -> None:
    from snowplow_tracker import Emitter

    emitter = Emitter(sink.url, batch_size=batch_size, buffer_capacity=values.MANY, buffer_bytes=values.MANY * 1000)
    delivery = emitter._delivery
    delivery._wake_at = values.MANY
    tracker = values.our_tracker(emitter)
    for _ in range(batches * batch_size):
        tracker.track_struct_event(*_ARGUMENTS)
    _profiled(
        f"{batches} batches of {batch_size}",
        lambda: [delivery._deliver(batch) for batch in iter(delivery._claim, None)],
        40,
    )


def serve(sink: SinkControl, seconds: float) -> None:
    """Track and deliver for a while, flat out, for a profiler to look at."""
    from snowplow_tracker import Emitter

    tracker = values.our_tracker(Emitter(sink.url, overflow="block"))
    print(os.getpid(), flush=True)
    end = monotonic() + seconds
    while monotonic() < end:
        for _ in range(1000):
            tracker.track_struct_event(*_ARGUMENTS)
    tracker.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--call", action="store_true")
    parser.add_argument("--worker", action="store_true")
    parser.add_argument("--cprofile", action="store_true")
    parser.add_argument("--serve", type=float, metavar="SECONDS")
    asked = parser.parse_args()
    everything = not (asked.call or asked.worker or asked.cprofile or asked.serve)
    with SinkProcess() as sink:
        if asked.serve:
            serve(sink, asked.serve)
        if asked.call or everything:
            print("the call, µs")
            for name, cost in call_steps().items():
                print(f"  {name}" if name.endswith(":") else f"  {name:34}{cost:8.3f}")
        for batch_size in (100, 250) if asked.worker or everything else ():
            print(f"\nthe emitter thread, batches of {batch_size}, µs of CPU an event")
            steps = worker_steps(sink, batch_size)
            for name, cost in steps.items():
                print(f"  {name:34}{cost:8.3f}")
            print(f"  {'all':34}{sum(cost for name, cost in steps.items() if name[0] != ' '):8.3f}")
        if asked.cprofile:
            quiet = QuietTracker()
            _profiled("20,000 calls", lambda: [quiet.call() for _ in range(20_000)])
            _profile_worker(sink, 100)


if __name__ == "__main__":
    main()
