"""What the libraries raise for bytes that are no certificate or no JSON: more than one kind of error each."""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

# Found by changing bytes of good ones; these are not kinds of ValueError.
NO_CERTIFICATE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
# Brackets in brackets, without end.
NO_JSON: Final = (ValueError, RecursionError)
