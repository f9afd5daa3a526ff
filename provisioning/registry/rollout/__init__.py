"""Roll-out of a release in rings that stop by themselves."""
