"""Stock pynetdicom: an AE with the library's own bounds, whose C-STORE handler writes a file.

usage: .venv/bin/python -m scripts.bench_attacks_stock PORT FOLDER [CERTIFICATE KEY AUTHORITY]
scripts/bench-attacks attacks it; nothing else may use it.
"""

from __future__ import annotations

import os
import ssl
import sys

from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.dimse_primitives import C_STORE


def _kept(event: evt.Event, folder: str) -> int:
    """Write the data set under the UID of the command, as many receivers do."""
    assert isinstance(event.request, C_STORE)
    with open(os.path.join(folder, str(event.request.AffectedSOPInstanceUID)), "wb") as file:
        file.write(event.encoded_dataset())
    return 0x0000


def main() -> None:
    """Listen until killed."""
    port, folder, *tls = sys.argv[1:]
    context = None
    if tls:
        certificate, key, authority = tls
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(certificate, key)
    entity = AE("RECEIVER")
    entity.supported_contexts = AllStoragePresentationContexts
    address = ("127.0.0.1", int(port))
    entity.start_server(address, ssl_context=context, evt_handlers=[(evt.EVT_C_STORE, _kept, [folder])])


if __name__ == "__main__":
    main()
