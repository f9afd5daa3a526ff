"""The fleet and the bench: the central registry and what a technician needs.

Nothing is built here yet; the README says what is missing.
"""
