"""The version: its one place."""

__version__ = "1.0.0"
