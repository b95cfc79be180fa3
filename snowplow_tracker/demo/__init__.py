"""The main job in one command, ``snowplow-tracker demo``: a game at 60 frames a second, a collector, and an outage.

``show`` tells what happens. It starts two ``parts``, each a process of its own: a collector that can be taken down, and
the ``game``, which ends without a flush. ``telemetry`` is the part of the game that tracks, ``terminal`` plays it by
itself. All of it is here and not beside the other examples so that an installed package has it, too.
"""
