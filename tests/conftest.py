"""What holds for all tests."""

from __future__ import annotations

import gc

from hypothesis import HealthCheck, settings

# How long an example takes says something of the machine, which may be busy, and nothing of the package.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


def pytest_collection_finish() -> None:
    """Leave what pytest holds out of later collections of garbage.

    Five thousand collected tests are a million objects, and a collection that goes through them takes a tenth of a
    second: some tests ask for one, and others allocate enough for many.
    """
    gc.collect()
    gc.freeze()
