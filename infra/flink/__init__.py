"""Beam's job server for Flink, and a worker pool beside it."""
