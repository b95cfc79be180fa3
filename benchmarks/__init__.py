"""How fast the tracker is, beside its peers and beside what is possible: ``python -m benchmarks``. See README.md."""
