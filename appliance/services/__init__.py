"""The processes of the box, one module each, and the supervisor that runs them all in the foreground."""
