"""Run a model on a folder of DICOM files, without any PACS: the worker's own code on files."""

from __future__ import annotations


def analyse() -> None:
    """Place holder."""
