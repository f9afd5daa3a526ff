"""The steps of a first boot and what each asks: data alone, the same for every way of answering.

Never: asks, checks or keeps anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from appliance.core.outputs import OUTPUTS
from models.catalogue import shipped

Value = str | int | float | bool | tuple[str, ...]


class Kind(StrEnum):
    """What an answer is."""

    TEXT = "text"
    WHOLE = "whole"
    NUMBER = "number"
    YES = "yes"
    MANY = "many"
    SECRET = "secret"
    CODE = "code"


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question.

    Attributes:
        default: what a blank answer means; none: it must be answered.
        choices: what may be chosen of, for MANY.
        secret: whether the answer is shown to nobody again.
    """

    key: str
    label: str
    help: str
    default: Value | None = None
    kind: Kind = Kind.TEXT
    choices: tuple[str, ...] = ()
    secret: bool = False


@dataclass(frozen=True, kw_only=True)
class Step:
    """Some questions that belong together; `skipped` says what will not work without their answers."""

    key: str
    title: str
    says: str
    skipped: str
    questions: tuple[Question, ...] = ()

    def question(self, key: str) -> Question | None:
        """Return a question by its key."""
        return next((question for question in self.questions if question.key == key), None)


STEPS: Final[tuple[Step, ...]] = (
    Step(
        key="network",
        title="Network",
        says="Where the hospital's network finds this box. The machine's own network is set up outside of"
        " Readside; this address is what the PACS administrator is told.",
        skipped="Nobody wrote down this box's address: the PACS administrator needs it.",
        questions=(
            Question(
                key="address",
                label="Address of this box",
                help="Its address or name in the hospital's network",
            ),
        ),
    ),
    Step(
        key="time",
        title="Time",
        says="By which clocks the site works. The clock itself must be right: signed lists and certificates"
        " hold by it.",
        skipped="The box works by UTC.",
        questions=(
            Question(key="time_zone", label="Time zone", help="Such as Europe/Vienna", default="UTC"),
        ),
    ),
    Step(
        key="site",
        title="Site",
        says="The name stands on every page and report.",
        skipped="The site is called Readside.",
        questions=(
            Question(key="name", label="Name of the site", help="At most 64 characters, such as St Mary's"),
        ),
    ),
    Step(
        key="storage",
        title="Storage",
        says="Where images, results and the ledger lie. Images of finished studies go, results stay.",
        skipped="Everything lies in /var/lib/readside.",
        questions=(
            Question(
                key="root",
                label="Folder",
                help="An absolute path on a disk that is encrypted",
                default="/var/lib/readside",
            ),
            Question(
                key="floor_gib",
                label="Free space that stays, GiB",
                help="Receiving stops before less than this is free",
                default=5.0,
                kind=Kind.NUMBER,
            ),
            Question(
                key="retain_days",
                label="Days that images are kept",
                help="Of studies that are finished",
                default=7.0,
                kind=Kind.NUMBER,
            ),
        ),
    ),
    Step(
        key="account",
        title="Account",
        says="The first person who may log in to the console. Only a digest of the password is kept.",
        skipped="Nobody can log in to the console: `readside password` makes an account for the file.",
        questions=(
            Question(
                key="user", label="Name", help="Letters, digits, dot, dash and underscore", default="admin"
            ),
            Question(
                key="password",
                label="Password",
                help="12 characters or more",
                kind=Kind.SECRET,
                secret=True,
            ),
        ),
    ),
    Step(
        key="dicom",
        title="DICOM",
        says="The box's own application entity; the PACS sends to it.",
        skipped="The box is called READSIDE and listens at 11112.",
        questions=(
            Question(
                key="ae_title",
                label="AE title of this box",
                help="At most 16 characters; the PACS must know it",
                default="READSIDE",
            ),
            Question(key="port", label="Port of this box", help="Above 1023", default=11112, kind=Kind.WHOLE),
        ),
    ),
    Step(
        key="pacs",
        title="PACS",
        says="Whom the box takes studies from, and who gets the results.",
        skipped="The box takes images from nobody and sends results to nobody: see [[peers]].",
        questions=(
            Question(key="name", label="Name in this box", help="A short word", default="pacs"),
            Question(key="ae_title", label="AE title of the PACS", help="Ask the PACS administrator"),
            Question(key="host", label="Address of the PACS", help="Its address or name"),
            Question(
                key="port",
                label="Port of the PACS",
                help="104 or 11112, mostly",
                default=104,
                kind=Kind.WHOLE,
            ),
            Question(
                key="query",
                label="May the box ask it for studies?",
                help="Yes lets the box fetch what never arrived",
                default=True,
                kind=Kind.YES,
            ),
            Question(
                key="outputs",
                label="What it gets of a result",
                help="sr is a report, seg an overlay, sc pictures that every viewer shows",
                default=("sr", "seg", "sc"),
                kind=Kind.MANY,
                choices=OUTPUTS,
            ),
        ),
    ),
    Step(
        key="models",
        title="Models",
        says="Which of the models that ship run here, each on what its manifest accepts.",
        skipped="Nothing is computed: see [[routes]].",
        questions=(
            Question(
                key="names",
                label="Models",
                help="ct-tissue-bands is what the acceptance measures",
                kind=Kind.MANY,
                choices=tuple(path.name for path in shipped()),
            ),
        ),
    ),
    Step(
        key="registry",
        title="Registry",
        says="Where signed models come from. The claim code is used once, at the end, and then forgotten.",
        skipped="No registry: models come with bundles on a stick.",
        questions=(
            Question(key="url", label="Address of the registry", help="https://..., or the whole invitation"),
            Question(key="slot", label="Slot", help="The position this box takes, such as box-1", default=""),
            Question(
                key="code",
                label="Claim code",
                help="28 characters; blank to enrol later",
                default="",
                kind=Kind.CODE,
                secret=True,
            ),
        ),
    ),
    Step(
        key="acceptance",
        title="Acceptance",
        says="Once the box runs, this proves it through the site's own PACS, and writes a report to sign:"
        " readside provision accept --peer NAME --out reports",
        skipped="It is not proven that this box works with this PACS.",
    ),
)
KEYS: Final[tuple[str, ...]] = tuple(step.key for step in STEPS)


def step_of(key: str) -> Step:
    """Return a step by its key."""
    return next(step for step in STEPS if step.key == key)
