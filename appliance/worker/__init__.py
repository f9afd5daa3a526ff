"""One job's work: bytes to slices, slices to a volume, a volume to findings with their evidence."""
