"""Bells over ZeroMQ: they carry ids, never work, and losing every one of them costs only time."""
