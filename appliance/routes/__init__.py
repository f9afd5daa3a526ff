"""Routes: which series of a study goes to which model, and a sentence for each one that does not."""
