"""The steps a manifest may name: what is done to voxels before the network, and with its answer after it.

Promises: a step is chosen by name and fed by parameters that were checked when the manifest was read.
Never: code from a package. A package names steps; it does not bring them.
"""
