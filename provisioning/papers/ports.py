"""Port and data-flow list of a box, its diagram, and the request for those who keep the hospital's firewall.

Promises: all three are made of `provisioning.host.flows`, as the box's own firewall is.
"""

from __future__ import annotations

from collections.abc import Sequence

from appliance.core.addresses import is_loopback
from provisioning.host.flows import ANYBODY, Flow, Way
from provisioning.papers.page import page


def port_list(name: str, flows: Sequence[Flow], version: str) -> str:
    """Return every flow as a table, and as a diagram that Mermaid draws."""
    rows = [
        (
            flow.service,
            "inwards" if flow.way is Way.IN else "outwards",
            _end(flow),
            flow.port,
            flow.transport.upper(),
            flow.protocol,
            _said(flow.tls),
            _said(flow.patient_data),
            flow.purpose,
        )
        for flow in flows
    ]
    return page("ports", version=version, name=name, flows=rows, diagram=_diagram(name, flows))


def firewall_request(name: str, flows: Sequence[Flow], version: str) -> str:
    """Return what to ask of the network team: only what crosses the network."""
    asked = [flow for flow in flows if not is_loopback(flow.address)]
    rows = [
        (
            _end(flow) if flow.way is Way.IN else name,
            name if flow.way is Way.IN else _end(flow),
            f"{flow.transport.upper()} {flow.port}",
            flow.protocol + (", TLS" if flow.tls else ""),
            flow.purpose,
        )
        for flow in asked
    ]
    return page("firewall", version=version, name=name, flows=rows)


def _end(flow: Flow) -> str:
    if flow.address == ANYBODY:
        return "any" if flow.way is Way.IN else "the site's"
    return f"{flow.peer} ({flow.address})" if flow.peer else flow.address


def _said(yes: bool) -> str:
    return "yes" if yes else "no"


def _diagram(name: str, flows: Sequence[Flow]) -> list[str]:
    """Return the lines of a flow chart in the language of Mermaid."""
    nodes: dict[str, str] = {}
    edges = []
    for flow in flows:
        end = nodes.setdefault(_end(flow), f"end{len(nodes)}")
        arrow = "==>" if flow.patient_data else "-->"
        source, target = (end, "box") if flow.way is Way.IN else ("box", end)
        edges.append(f'{source} {arrow}|"{flow.protocol} {flow.port}"| {target}')
    named = [f'{node}["{end}"]' for end, node in nodes.items()]
    return [f'box["{name}"]', *named, *dict.fromkeys(edges)]
