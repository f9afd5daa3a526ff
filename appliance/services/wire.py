"""Turn the configuration's peers, and what the box proves itself with, into the wire's."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import cache
from pathlib import Path

from appliance.core.config import Config, DicomTls, Peer
from dicom_node import values
from dicom_node.dicomweb.outward import WebPeer
from dicom_node.tls import Credentials, Files
from dicom_node.user import User


def wire_peer(peer: Peer, config: Config) -> values.Peer:
    """Return a peer as the wire knows it."""
    return values.Peer(
        name=peer.name,
        ae_title=values.AeTitle.parse(peer.ae_title),
        host=peer.host,
        port=peer.port or 0,
        may=frozenset(peer.may),
        tls=_credentials(files_of(config.dicom.tls)) if peer.tls and config.dicom.tls else None,
        certificate_sha256=frozenset(peer.certificate_sha256),
        user=_user(peer.user, peer.user_passcode),
        shows=_user(peer.shows_user, peer.shows_user_passcode),
    )


def _user(name: str | None, passcode: Path | None) -> User | None:
    return None if name is None else User(name=name, passcode=passcode)


def web_peer(peer: Peer, config: Config) -> WebPeer:
    """Return where a peer takes results by STOW-RS."""
    token = peer.dicomweb_token
    return WebPeer(name=peer.name, url=peer.dicomweb or "", token_file=token, context=_web_context(config))


def worklist_peer(config: Config) -> WebPeer:
    """Return where the site's worklist is."""
    section = config.worklist
    return WebPeer(
        name="worklist", url=section.url or "", token_file=section.token, context=_web_context(config)
    )


def _web_context(config: Config) -> Callable[[], ssl.SSLContext]:
    """Return what makes the context for https; [dicom.tls], where it is there, is what is trusted."""
    tls = config.dicom.tls

    def context() -> ssl.SSLContext:
        if tls is None:
            return ssl.create_default_context()
        return _credentials(files_of(tls)).client(checks_name=True)

    return context


def files_of(tls: DicomTls) -> Files:
    """Return the files of [dicom.tls] as the wire knows them."""
    return Files(certificate=tls.certificate, key=tls.key, ca=tls.ca)


@cache
def _credentials(files: Files) -> Credentials:
    """Return one set of contexts for all peers of a process: whoever asks next finds new files in use."""
    return Credentials(files)
