"""A web application: every order is tracked, about the visitor who made it, and no request waits for it.

    pip install snowplow-event-tracker flask gunicorn
    python -m snowplow_tracker.collector &
    gunicorn --workers 4 "examples.flask_app:create_app()"

Three things are worth copying. One tracker serves the whole process, all threads of it; a server that forks its workers
may make it before or after. Who an event is about is said with the event, as each request is somebody else's. And the
health check tells how many events were lost: alert on that number, for nothing else will tell you.
"""

from __future__ import annotations

import os

from flask import Flask, Response, jsonify, request

from snowplow_tracker import SelfDescribingJson, Subject, Tracker

PRICES = {"sword": 9.50, "potion": 4.99}


def visitor() -> Subject:
    """Who this request comes from; what the request does not tell is left off."""
    about = Subject().set_user_id(request.headers.get("X-User") or None)
    return about.set_ip_address(request.remote_addr or None).set_useragent(
        (request.user_agent.string or "")[:1000] or None
    )


def create_app(collector: str | None = None) -> Flask:
    """Make the application; *collector* overrides the environment's ``SNOWPLOW_COLLECTOR``."""
    app = Flask(__name__)
    tracker = Tracker.hostname(
        collector or os.environ.get("SNOWPLOW_COLLECTOR", "http://127.0.0.1:9090"),
        app_id="shop",
        event_vendor="com.acme",
        on_invalid="drop",  # what a visitor sends must not become an error 500
    ).set_platform("srv")
    app.extensions["snowplow"] = tracker

    @app.post("/orders/<item>")
    def order(item: str) -> tuple[Response, int]:
        if item not in PRICES:
            return jsonify(error="no such item"), 404
        quantity = request.args.get("quantity", 1, type=int)
        shelf = SelfDescribingJson("iglu:com.acme/shelf/jsonschema/1-0-0", {"item": item, "price": PRICES[item]})
        receipt = tracker.track_struct_event(
            "shop", "order", item, value=PRICES[item] * quantity, context=[shelf], event_subject=visitor()
        )
        return jsonify(event=receipt.event_id), 201

    @app.get("/health")
    def health() -> Response:
        stats = tracker.stats()
        return jsonify(delivered=stats.delivered, waiting=stats.queued, lost=sum(stats.dropped.values()))

    return app
