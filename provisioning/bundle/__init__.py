"""Bundles: the way to a box without a network and back, on a stick."""
