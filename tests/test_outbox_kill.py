"""kill -9 over an outbox: nothing that was accepted is lost, and nothing comes twice that need not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from outbox_kills import run_kills

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def test_nothing_accepted_is_lost_to_thirty_kills(tmp_path: Path) -> None:
    outcome = run_kills(tmp_path / "outbox.db", kills=30, writers=3, lives_s=(0.01, 0.15), seed=1)
    assert outcome.accepted > 100, "there was something to lose"
    assert outcome.lost == []
    assert outcome.unexplained == []
