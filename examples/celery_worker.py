"""A Celery worker: each task tracks what it did, and nothing is lost when the worker is told to stop.

    pip install snowplow-event-tracker celery
    python -m snowplow_tracker.collector &
    celery --app examples.celery_worker worker --concurrency 2

Celery forks its worker processes, and those end by `os._exit`, which runs no `atexit` hook. The tracker starts anew in
each of them by itself; the one thing to add is a line for the end, see `deliver_before_the_end`.

The broker is a folder here, so that the example needs no server: put your broker's address into ``BROKER``.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, Task
from celery.signals import task_failure, task_postrun, worker_process_shutdown

from snowplow_tracker import Tracker

FOLDER = os.environ.get("BROKER_FOLDER", "/tmp/celery-example")
IN_A_FOLDER = dict.fromkeys(("data_folder_in", "data_folder_out", "control_folder"), FOLDER)
os.makedirs(FOLDER, exist_ok=True)

app = Celery("shop", broker=os.environ.get("BROKER", "filesystem://"))
app.conf.update(broker_transport_options=IN_A_FOLDER, broker_connection_retry_on_startup=True)

tracker = Tracker.hostname(
    os.environ.get("SNOWPLOW_COLLECTOR", "http://127.0.0.1:9090"),
    app_id="worker",
    event_vendor="com.acme",
    on_invalid="drop",
    shutdown_timeout=5.0,
).set_platform("srv")


@app.task
def send_invoice(order_id: str, total: float) -> None:
    """Stands for your own work."""
    if total < 0:
        raise ValueError("an invoice over a negative amount")
    tracker.track_unstruct_event("invoice-sent", {"order_id": order_id, "total$flt": float(total)})


@task_postrun.connect
def count_task(task: Task[Any, Any], state: str, **_: Any) -> None:
    """Track that a task ended, whichever it was and however it ended."""
    tracker.track_struct_event("task", "ended", task.name, state)


@task_failure.connect
def count_failure(sender: Task[Any, Any], exception: Exception, **_: Any) -> None:
    """Track what went wrong: the kind of it, as a message may hold what is nobody's business."""
    tracker.track_struct_event("task", "failed", sender.name, type(exception).__name__)


@worker_process_shutdown.connect
def deliver_before_the_end(**_: Any) -> None:
    """Deliver what this process has queued: it is about to end without `atexit`."""
    tracker.close()
