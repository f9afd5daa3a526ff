"""Why an instance was not kept, in the three forms that everyone needs.

The peer gets a status and a comment, the log gets a word.
Neither ever holds a value out of the data set.
"""

from __future__ import annotations

from typing import Final

from dicom_node.status import Status

# Error Comment (0000,0902) is LO: PS3.7 Annex C, PS3.5 6.2.
COMMENT_CHARACTERS_MAX: Final = 64


class Refusal(Exception):
    """An instance was not kept; carries the status, the log word and the comment for the peer.

    `offset` counts bytes from the start of the data set to what is wrong, when that is known.
    """

    def __init__(self, status: Status, word: str, comment: str, *, offset: int | None = None) -> None:
        """Clip the comment to what the wire carries; a clipped comment beats a second fault."""
        super().__init__(f"{word}: {comment}")
        self.status = status
        self.word = word
        self.comment = comment[:COMMENT_CHARACTERS_MAX]
        self.offset = offset


class NoAssociation(Exception):
    """A peer could not be reached or would not associate; carries the last part of a log word.

    `rejection` is what a peer that rejected said: result, source and reason (PS3.8 9.3.4).
    """

    def __init__(self, reason: str, *, rejection: tuple[int, int, int] | None = None) -> None:
        """Keep both.

        "unreachable", "rejected", "aborted", "no_context" or "protocol_error"; where TLS could not be agreed
        on, "tls_" and the word of `dicom_node.tls.reason_of`, "tls_wrong_certificate" or "tls_files";
        "user_file" when the passcode that we show cannot be read.
        """
        super().__init__(reason)
        self.reason, self.rejection = reason, rejection
