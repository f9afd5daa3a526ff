"""Decide one route for one study: at most one series is chosen, each of the others gets a sentence (P3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.core.words import Verdict
from appliance.routes.expression import Condition

Eligible = Callable[[Mapping[str, Any]], Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One series of the study with the variables of a condition."""

    series_uid: str
    facts: Mapping[str, Any]

    @property
    def number(self) -> int | None:
        """Return Series Number (0020,0011)."""
        value = self.facts.get("SeriesNumber")
        return value if isinstance(value, int) else None

    @property
    def description(self) -> str:
        """Return Series Description (0008,103E)."""
        return str(self.facts.get("SeriesDescription") or "")


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """Why a series was chosen, or was not."""

    candidate: Candidate
    chosen: bool
    text: str


@dataclass(frozen=True, kw_only=True)
class Match:
    """What a route makes of a study. `chosen` is set unless nothing matched.

    `refusal` says why it is not eligible.
    """

    verdict: Verdict
    reason: str
    sentences: Sequence[Sentence]
    chosen: Candidate | None = None
    refusal: str | None = None


def match(
    when: Condition, accepts: Condition | None, eligible: Eligible, series: Sequence[Candidate]
) -> Match:
    """Choose the series that a route's model works on.

    `when` is the site's choice; a series it leaves out is never spoken of in a result.
    `accepts` and `eligible` are the model's own limits; a series that meets `when` but not these is "not
    eligible".
    Of several eligible series the one with most slices is chosen, then the thinner, then the lower Series
    Number.
    """
    answers = {candidate.series_uid: when.ask(candidate.facts) for candidate in series}
    wanted = sorted((c for c in series if answers[c.series_uid].holds), key=_preference)
    refusals = {c.series_uid: _refusal(accepts, eligible, c) for c in wanted}
    chosen = next((c for c in wanted if not refusals[c.series_uid]), wanted[0] if wanted else None)
    sentences = [
        _sentence(c, answers[c.series_uid].reason, refusals.get(c.series_uid), chosen) for c in series
    ]
    if chosen is None:
        return Match(verdict=Verdict.NO_MATCH, reason=_nothing(series), sentences=sentences)
    refusal = refusals[chosen.series_uid]
    if refusal:
        return Match(
            verdict=Verdict.NOT_ELIGIBLE, reason=refusal, sentences=sentences, chosen=chosen, refusal=refusal
        )
    return Match(
        verdict=Verdict.RUN, reason=f"series {_named(chosen)} is analysed", sentences=sentences, chosen=chosen
    )


def _preference(candidate: Candidate) -> tuple[int, float, int, str]:
    slices = candidate.facts.get("slices") or 0
    spacing = candidate.facts.get("slice_spacing_mm") or 0.0
    number = candidate.number
    return (-slices, spacing, number if number is not None else 1 << 31, candidate.series_uid)


def _refusal(accepts: Condition | None, eligible: Eligible, candidate: Candidate) -> str:
    if accepts is not None:
        answer = accepts.ask(candidate.facts)
        if not answer.holds:
            return f"the model does not accept the series: {answer.reason}"
    return " ".join(eligible(candidate.facts))


def _sentence(candidate: Candidate, answer: str, refusal: str | None, chosen: Candidate | None) -> Sentence:
    if candidate is chosen:
        text = f"chosen, but not eligible: {refusal}" if refusal else "chosen"
    elif refusal is None:
        text = f"not wanted: {answer}"
    elif refusal:
        text = f"not eligible: {refusal}"
    else:
        assert chosen is not None, "an eligible series means that one is chosen"
        text = f"eligible, but series {_named(chosen)} is preferred (more slices, thinner or first)"
    return Sentence(candidate=candidate, chosen=candidate is chosen, text=text)


def _nothing(series: Sequence[Candidate]) -> str:
    if not series:
        return "the study has no series"
    return (
        f"none of the {len(series)} series meets the route's condition"
        if len(series) > 1
        else ("its only series does not meet the route's condition")
    )


def _named(candidate: Candidate) -> str:
    return str(candidate.number) if candidate.number is not None else "without number"
