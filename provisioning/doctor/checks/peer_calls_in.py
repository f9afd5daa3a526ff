"""C-ECHO in: the box's own listener answers a call under the peer's AE title.

The doctor makes the call, from this machine. Under TLS it holds no certificate of the peer's, and so goes no
further than the port; whether the PACS itself gets through is shown by what it sends, or by `--peers full`.
"""

from __future__ import annotations

from collections.abc import Iterator

from dicom_node.echo import echo
from dicom_node.values import AeTitle, Peer
from provisioning.doctor.check import Check
from provisioning.doctor.checks.ports import here
from provisioning.doctor.checks.services import is_stopped
from provisioning.doctor.finding import Fault, Finding, Who, not_looked_at, sound, wrong
from provisioning.doctor.limits import WIRE
from provisioning.doctor.site import Site

REFUSED = Fault(
    id="listener.refuses",
    cause="the box's own listener does not answer a call under the peer's AE title",
    fix="start the box again: it may run with an older configuration; then look into the listener's log",
    who=Who.TECHNICIAN,
)


def _look(site: Site, name: str) -> Iterator[Finding]:
    if stopped := is_stopped(site):
        yield stopped
        return
    dicom, peer = site.config.dicom, site.peer(name)
    if peer.tls or (dicom.tls is not None and not dicom.tls.plain) or not dicom.port:
        yield not_looked_at("it calls under TLS, with a certificate that only it holds")
        return
    title = AeTitle.parse(dicom.ae_title)
    box = Peer(name="box", ae_title=title, host=here(dicom.host), port=dicom.port)
    result = echo(box, calling_ae=peer.ae_title, limits=WIRE)
    said = f"a call from {peer.ae_title} to {dicom.ae_title} at port {dicom.port}"
    yield sound(f"{said} is answered") if result.ok else wrong(REFUSED, f"{said}: {result.word}")


def _everybody(site: Site) -> list[str]:
    return [peer.name for peer in site.config.peers]


CHECK = Check(
    id="peer-calls-in",
    about="a call in from peer",
    look=_look,
    faults=(REFUSED,),
    needs=("configuration", "ports"),
    each=_everybody,
    seconds_max=45.0,
)
