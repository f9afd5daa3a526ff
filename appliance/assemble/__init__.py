"""From instances to complete studies to decisions.

Every time and state is a row, so a restart forgets nothing.
"""
