"""A stand-in PACS by pynetdicom, one thing of which may be wrong."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from tests.certificates import Pair


@dataclass(frozen=True, kw_only=True)
class Pacs:
    """Where it is, and what it is called."""

    ae_title: str
    port: int


@contextmanager
def pacs(
    *,
    knows: Sequence[str] = (),
    stores: bool = True,
    store_status: int = 0x0000,
    tls: Pair | None = None,
) -> Iterator[Pacs]:
    """Serve; C-MOVE has no destination for anybody."""
    entity = AE("STANDIN")
    entity.require_called_aet = True
    if knows:
        entity.require_calling_aet = list(knows)
    entity.add_supported_context(Verification)
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelMove)
    if stores:
        for context in AllStoragePresentationContexts:
            entity.add_supported_context(str(context.abstract_syntax))

    def move(_event: Any) -> Iterator[Any]:
        yield None, None

    secured: ssl.SSLContext | None = None
    if tls is not None:
        secured = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        secured.load_cert_chain(tls.certificate, tls.key)
    server = entity.start_server(
        ("127.0.0.1", 0),
        block=False,
        ssl_context=secured,
        evt_handlers=[
            (evt.EVT_C_ECHO, lambda _: 0x0000),
            (evt.EVT_C_STORE, lambda _: store_status),
            (evt.EVT_C_MOVE, move),
        ],
    )
    assert server is not None
    assert server.socket is not None
    try:
        yield Pacs(ae_title="STANDIN", port=server.socket.getsockname()[1])
    finally:
        server.shutdown()
