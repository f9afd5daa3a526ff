"""What every room stands on: configuration, clock, identifiers, words and the log."""
