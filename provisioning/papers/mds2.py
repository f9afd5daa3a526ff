"""Answers for a hospital's MDS2 form, group by group (ANSI/NEMA HN 1-2019), from configuration and code.

Promises: what depends on the configuration is read from it.
Never: answers for the machine, its operating system or the hospital's network.
"""

from __future__ import annotations

from appliance.core.config import Config
from provisioning.host.flows import Way, flows_of
from provisioning.papers.page import page


def mds2(config: Config, version: str) -> str:
    """Return the answers as Markdown."""
    return page("mds2", name=config.site.name, version=version, answers=_answers(config))


def _answers(config: Config) -> list[tuple[str, str]]:
    return [
        ("DOC: device description", "An edge inference appliance: software on a server beside the PACS."),
        ("MPII: personally identifiable information", _information(config)),
        ("ALOF: automatic logoff", "Log-ins to the pages end after a time without use."),
        ("AUDT: audit controls", _audit(config)),
        ("AUTH: authorization", "Pages need a log-in; peers have rights of their own in the configuration."),
        ("CNFS: configuration of security features", "One file, checked whole by `readside check-config`."),
        ("CSUP: cyber security product upgrades", "A signed package, or a folder on a stick; data stays."),
        ("DIDT: de-identification", "Not offered: results carry the identity of their study."),
        (
            "DTBK: data backup and disaster recovery",
            "`readside provision backup` keeps configuration, not images.",
        ),
        ("EMRG: emergency access", "None is needed: images stay in the PACS."),
        (
            "IGAU: data integrity and authenticity",
            "SHA-256 of every instance and every result; see H1 and H5.",
        ),
        (
            "MLDP: malware detection and protection",
            "The hospital's own; the spool may be left out of its scans.",
        ),
        ("NAUT: node authentication", _nodes(config)),
        ("CONN: connectivity", _connectivity(config)),
        ("PAUT: person authentication", "Names and passwords, kept as Argon2 hashes; no default password."),
        ("PLOK: physical locks", "The machine's."),
        ("RDMP: roadmap for third-party components", "sbom.cdx.json names each with its version."),
        ("SBOM: software bill of materials", "sbom.cdx.json, CycloneDX 1.6."),
        (
            "SAHD: system and application hardening",
            "A sandboxed unit for each service, none with a capability.",
        ),
        ("SGUD: security guidance", "docs/technician.md and SECURITY.md."),
        (
            "STCF: health data storage confidentiality",
            "Readable by one user; encryption is the disk's (LUKS2).",
        ),
        ("TXCF: transmission confidentiality", _transmission(config)),
        ("TXIG: transmission integrity", _transmission(config)),
        ("RMOT: remote service", "None. The registry cannot open a connection to the device."),
    ]


def _information(config: Config) -> str:
    days, results_days = config.storage.retain_days, config.storage.results_days
    return (
        "Yes: images with the identity that the PACS gives them, on the machine's disk, for"
        f" {days:g} days after their study is finished, and results for {results_days:g}."
        " None in logs, metrics or telemetry."
    )


def _audit(config: Config) -> str:
    where = f"sent to {config.audit.host}" if config.audit.host else "kept on the device"
    return (
        f"PS3.15 A.5 messages, chained and signed, {where}; `readside audit verify` finds the first bad row."
    )


def _nodes(config: Config) -> str:
    by_tls = sum(peer.tls for peer in config.peers)
    return f"{by_tls} of {len(config.peers)} peers show a certificate bound to their AE title."


def _connectivity(config: Config) -> str:
    flows = flows_of(config)
    ports = sorted({flow.port for flow in flows if flow.way is Way.IN})
    return f"Ethernet. Listens on {', '.join(map(str, ports))}; ports.md has every connection. No wireless."


def _transmission(config: Config) -> str:
    carrying = [flow for flow in flows_of(config) if flow.patient_data]
    secured = sum(flow.tls for flow in carrying)
    return f"{secured} of {len(carrying)} connections with patient data are under TLS."
