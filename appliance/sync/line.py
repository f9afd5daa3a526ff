"""A signed request to the registry's own ends (`/api/device/v1/...`): one POST, one bounded answer.

Promises: every wait ends; an answer is bounded; why there is none is said with the words of a turn.
Never: sends anything but the bytes it is given, and what signs them. Follows a redirect: a log-in page of a
network is no registry, and nothing is told to it twice.
"""

from __future__ import annotations

import json
import os
import ssl
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from appliance.core.clock import SYSTEM, Clock
from appliance.core.config import Config
from appliance.sync.refusal import Refusal, Word
from appliance.sync.signing import Signer, sign
from appliance.sync.softkey import KeyFault
from appliance.sync.unreadable import NO_JSON
from appliance.sync.watch import Watch, Wire

JSON: Final = "application/json"
_LOG_IN_FIRST = 511
_REASON_CHARACTERS_MAX = 200
_DIGITS_MAX = 9
# What a registry refuses with, by status; the rest passes by itself.
_WORDS: Final = {
    400: Word.UNKNOWN_FORM,
    401: Word.NOT_CLAIMED,
    403: Word.NOT_CLAIMED,
    404: Word.NOT_A_REGISTRY,
    405: Word.NOT_A_REGISTRY,
    409: Word.BOX_REFUSED,
    413: Word.UNKNOWN_FORM,
    415: Word.UNKNOWN_FORM,
    422: Word.UNKNOWN_FORM,
}


class Declined(Refusal):
    """The registry answered, and not with what was asked for; `reason` is its own word where it gave one."""

    def __init__(
        self,
        word: Word,
        sentence: str,
        *,
        status: int,
        reason: str = "",
        retry_after_seconds: float | None = None,
    ) -> None:
        """Keep the HTTP status (RFC 9110 section 15), and for how long it asks to be left alone (10.2.3)."""
        super().__init__(word, sentence)
        self.status, self.reason = status, reason
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, kw_only=True)
class LineLimits:
    """Bounds of one request.

    Attributes:
        connect_seconds_max: until a server answers at all.
        silence_seconds_max: between two bytes.
        seconds_max: the whole of it.
        answer_bytes_max: of an answer.
    """

    connect_seconds_max: float = 15.0
    silence_seconds_max: float = 30.0
    seconds_max: float = 60.0
    answer_bytes_max: int = 1_000_000


LINE: Final = LineLimits()


def post(
    config: Config,
    identity: Signer | None,
    path: str,
    body: bytes,
    *,
    content_type: str = JSON,
    limits: LineLimits = LINE,
) -> bytes:
    """Send a request below `registry.url`, signed where there is an identity, and return the answer's body.

    `path` begins with a slash and is what is signed: a proxy that serves the registry below a
    prefix takes the prefix off.

    Raises:
        Refusal: it did not get there or back, and another time it may.
        Declined: the registry does not take it.
    """
    url = config.registry.url
    return post_to(url, identity, path, body, content_type=content_type, limits=limits)


def post_to(
    url: str,
    identity: Signer | None,
    path: str,
    body: bytes,
    *,
    content_type: str = JSON,
    headers: dict[str, str] | None = None,
    clock: Clock = SYSTEM,
    limits: LineLimits = LINE,
) -> bytes:
    """Send a request below an address; see `post`."""
    assert path.startswith("/")
    assert "?" not in path
    if not _is_http(url):
        raise Refusal(Word.UNREACHABLE, "registry.url is empty, a folder or no address: nothing can be sent")
    own = {"Content-Type": content_type, "Accept-Encoding": "identity", **(headers or {})}
    if identity is not None:
        own |= _signed(identity, path, body, clock)
    return _sent(url.rstrip("/") + path, body, own, clock, limits)


def _is_http(url: str) -> bool:
    try:
        return urlsplit(url).scheme in ("http", "https")
    except ValueError:
        return False


def _signed(identity: Signer, path: str, body: bytes, clock: Clock) -> dict[str, str]:
    try:
        return sign(identity, method="POST", path=path, body=body, at=clock.now())
    except KeyFault as fault:
        raise Refusal(Word.BOX_REFUSED, str(fault)) from fault


def _sent(address: str, body: bytes, headers: dict[str, str], clock: Clock, limits: LineLimits) -> bytes:
    waits = httpx.Timeout(limits.silence_seconds_max, connect=limits.connect_seconds_max)
    wire = Wire()
    with (
        httpx.Client(verify=_authorities(), timeout=waits) as client,
        Watch(wire, limits.seconds_max) as watch,
    ):
        try:
            with client.stream(
                "POST", address, content=body, headers=headers, extensions={"trace": wire.follow}
            ) as response:
                answer = _read(response, limits.answer_bytes_max)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _said(error, ended=watch.ended) from error
    if watch.ended:
        raise Refusal(Word.TOO_SLOW, "the registry did not answer in time")
    _judge(response, answer, clock)
    return answer


@lru_cache(maxsize=1)
def _kept_authorities(_environment: tuple[str | None, ...]) -> ssl.SSLContext:
    return ssl.create_default_context()


def _authorities() -> ssl.SSLContext:
    """Return whom a server is known by: reading the machine's store takes longer than a request."""
    return _kept_authorities((os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")))


def _read(response: httpx.Response, bytes_max: int) -> bytes:
    data = bytearray()
    for chunk in response.iter_raw():
        data += chunk
        if len(data) > bytes_max:
            raise Refusal(
                Word.ENDLESS_DATA, f"the answer does not end after the {bytes_max} bytes it may have"
            )
    return bytes(data)


def _judge(response: httpx.Response, answer: bytes, clock: Clock) -> None:
    status = response.status_code
    if (
        status == _LOG_IN_FIRST
        or response.is_redirect
        or (response.is_success and answer.lstrip().startswith(b"<"))
    ):
        raise Refusal(
            Word.CAPTIVE_PORTAL,
            "a web page came in place of the registry: a log-in page or a filter of this network is in"
            " between",
        )
    if response.is_success:
        return
    said = _reason(answer)
    reason = said.get("reason")
    reason = reason[:_REASON_CHARACTERS_MAX] if isinstance(reason, str) else ""
    if reason == "clock" and isinstance(said.get("now"), int):
        ahead = clock.now() > said["now"]
        raise Declined(
            Word.CLOCK_AHEAD if ahead else Word.CLOCK_BEHIND,
            f"this box's clock is {'ahead of' if ahead else 'behind'} the registry's by more than is allowed",
            status=status,
            reason=reason,
        )
    word = _WORDS.get(status, Word.UNREACHABLE)
    because = f" ({reason})" if reason else ""
    raise Declined(
        word,
        f"the registry, or a proxy before it, answers with {status}{because}",
        status=status,
        reason=reason,
        retry_after_seconds=_retry_after(response.headers.get("retry-after", ""), clock),
    )


def _retry_after(said: str, clock: Clock) -> float | None:
    """Read Retry-After, which is seconds or a date; none where it is neither."""
    if said.isascii() and said.isdigit():
        return float(said[:_DIGITS_MAX])
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - clock.now())
    except (ValueError, OverflowError):
        return None


def _reason(answer: bytes) -> dict[str, Any]:
    try:
        said = json.loads(answer)
    except NO_JSON:
        return {}
    return said if isinstance(said, dict) else {}


def _said(error: Exception, *, ended: bool) -> Refusal:
    if ended:
        return Refusal(Word.TOO_SLOW, "the registry did not answer in time")
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError | httpx.InvalidURL):
        return Refusal(Word.UNREACHABLE, f"the registry cannot be reached: {error}")
    if isinstance(error, httpx.TimeoutException):
        return Refusal(Word.TOO_SLOW, "the registry fell silent in the middle")
    return Refusal(Word.CUT_OFF, f"the connection broke off ({type(error).__name__})")
