"""[alerts]: whom the box tells when something is wrong, besides its console and its metrics."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from appliance.core.sections import Port, Section

Hook = Annotated[str, StringConstraints(pattern=r"^https?://[^\s#]+$", max_length=500)]
# RFC 5321 4.1.2, as far as addresses of a hospital go; no name and no comment beside it.
MailAddress = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,190}$", max_length=254)
]


class Alerts(Section):
    """[alerts]: a webhook, or mail through the hospital's own server; neither given: nothing is sent.

    Attributes:
        webhook: takes a JSON object by POST.
        mail_host: the server that takes the mail.
        mail_tls: "starttls" or "tls" check the server's certificate; "none" is for a server in the same room.
        remind_hours: how often an alarm that goes on is told again.
    """

    webhook: Hook | None = None
    mail_host: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.:-]{1,255}$")] | None = None
    mail_port: Port = 587
    mail_tls: Literal["starttls", "tls", "none"] = "starttls"
    mail_from: MailAddress | None = None
    mail_to: Annotated[tuple[MailAddress, ...], Field(max_length=16)] = ()
    remind_hours: Annotated[float, Field(ge=1, le=31 * 24)] = 24.0

    @model_validator(mode="after")
    def _mail_is_whole(self) -> Self:
        given = [self.mail_host is not None, self.mail_from is not None, bool(self.mail_to)]
        if any(given) and not all(given):
            raise ValueError("alerts.mail_host: is given together with alerts.mail_from and alerts.mail_to")
        return self

    @property
    def ways(self) -> tuple[str, ...]:
        """Return by which ways alarms are told."""
        hook = ("webhook",) if self.webhook else ()
        return (*hook, "mail") if self.mail_host else hook
