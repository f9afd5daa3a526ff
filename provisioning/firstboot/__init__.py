"""First boot: one sequence of steps, driven by a page, a terminal or a file, ends in one configuration."""
