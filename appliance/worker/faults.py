"""Why a series gave no findings: it is not for this model, or the work failed.

Each carries sentences that a person may read; none holds patient data.
"""

from __future__ import annotations

from collections.abc import Sequence


class NotEligible(Exception):
    """The series cannot be analysed by this model as it is; `reasons` says why, one sentence each."""

    def __init__(self, reasons: Sequence[str]) -> None:
        """Take every reason at once."""
        super().__init__(" ".join(reasons))
        self.reasons = list(reasons)


class AnalysisFailed(Exception):
    """The analysis was tried and failed: a fixed word for the log and a sentence for people."""

    def __init__(self, word: str, sentence: str) -> None:
        """Keep both; the text of the error is both, so a log line needs no more."""
        super().__init__(f"{word}: {sentence}")
        self.word = word
        self.sentence = sentence


class DecodeError(AnalysisFailed):
    """Pixels could not be had from the stored bytes.

    Words: decode.shape (attributes and bytes contradict each other), decode.stream (the decoder refused the
    bytes), decode.unsupported, decode.child_died, decode.deadline, decode.memory, decode.header.
    """
