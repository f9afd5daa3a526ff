"""The fleet and the bench: the central registry and what a technician needs.

The registry signs and assigns releases of models; docs/registry.md says what of the fleet is not built.
"""
