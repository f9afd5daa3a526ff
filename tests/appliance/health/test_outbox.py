"""The outbox: nothing is lost uncounted, and nothing leaves unnoted."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from appliance.core.clock import HeldClock
from appliance.health.codes import Kind
from appliance.health.limits import OutboxLimits
from appliance.health.outbox import UNDER_WAY, Outbox
from appliance.health.schema import SchemaFault

WORK = {"hour": 472_222, "release": 7}


@pytest.fixture
def outbox(tmp_path, clock):
    return Outbox(folder=tmp_path / "telemetry", clock=clock)


def machine(outbox, **values):
    return outbox.add(Kind.MACHINE, {"load": 1.0, **values})


class TestRecords:
    def test_what_is_put_in_comes_out_with_a_number_of_its_own(self, outbox, clock):
        first, second = outbox.add(Kind.WORK, WORK), machine(outbox)
        assert 0 < first < second
        assert [(one.seq, one.kind) for one in outbox.waiting(9)] == [
            (second, Kind.MACHINE),
            (first, Kind.WORK),
        ]
        assert {one.at for one in outbox.waiting(9)} == {int(clock.now())}
        outbox.sent([second])
        assert [one.seq for one in outbox.waiting(9)] == [first]

    def test_state_goes_first_newest_first_and_the_rest_from_the_oldest(self, outbox):
        seqs = [machine(outbox) for _ in range(3)] + [outbox.add(Kind.WORK, WORK) for _ in range(3)]
        assert [one.seq for one in outbox.waiting(4)] == [seqs[2], seqs[0], seqs[1], seqs[3]]

    def test_what_may_not_leave_is_left_out_and_counted(self, outbox):
        machine(outbox, name="DOE^JANE", disk_free=-4, memory_free=5)
        (one,) = outbox.waiting(1)
        assert one.values == {"load": 1.0, "memory_free": 5}
        assert outbox.number("unfit") == 2
        with pytest.raises(SchemaFault):
            outbox.add(Kind.WORK, {"hour": 1})
        assert len(outbox.waiting(9)) == 1

    def test_numbers_go_on_after_a_start_and_after_the_file_was_lost(self, outbox, clock, tmp_path):
        first = machine(outbox)
        outbox.sent([first])
        again = Outbox(folder=outbox.folder, clock=clock)
        assert machine(again) == first + 1
        clock.advance(60)
        assert machine(Outbox(folder=tmp_path / "fresh", clock=clock)) > first + 1

    @pytest.mark.parametrize(
        ("level", "kept"),
        [("off", set()), ("health", {Kind.WORK}), ("health+drift", {Kind.WORK, Kind.INPUT})],
    )
    def test_what_may_not_leave_at_a_level_is_dropped_whenever_it_is_chosen(self, outbox, level, kept):
        outbox.add(Kind.WORK, WORK)
        outbox.add(Kind.INPUT, {"day": 19_675, "release": 7, "vendor": 1})
        outbox.keep_to(level)
        assert {one.kind for one in outbox.waiting(9)} == kept
        assert outbox.number("lost") is None


class TestBounds:
    def test_old_detail_becomes_one_look_an_hour(self, outbox, clock):
        for _ in range(180):
            machine(outbox)
            clock.advance(60)
        work = outbox.add(Kind.WORK, WORK)
        clock.advance(86_400)
        lost = outbox.trim()
        left = outbox.waiting(999)
        assert len({one.at // 3600 for one in left if one.kind is Kind.MACHINE}) == len(left) - 1
        assert lost == 181 - len(left) == outbox.number("lost")
        assert work in {one.seq for one in left}
        assert outbox.trim() == 0

    def test_too_many_lose_the_oldest_detail_first(self, tmp_path, clock):
        outbox = Outbox(folder=tmp_path, clock=clock, limits=OutboxLimits(records_max=4))
        work = [outbox.add(Kind.WORK, WORK) for _ in range(3)]
        looks = [machine(outbox) for _ in range(3)]
        assert outbox.trim() == 2
        assert {one.seq for one in outbox.waiting(9)} == {*work, looks[2]}
        for _ in range(3):
            work.append(outbox.add(Kind.WORK, WORK))
        assert outbox.trim() == 3
        assert [one.seq for one in outbox.waiting(9)] == work[2:]
        assert outbox.number("lost") == 5

    def test_what_is_too_old_is_lost_and_counted(self, outbox, clock):
        outbox.add(Kind.WORK, WORK)
        clock.advance(91 * 86_400)
        assert outbox.trim() == 1
        assert outbox.number("lost") == 1


class TestDepartures:
    def test_every_byte_is_noted_with_its_answer(self, outbox, clock):
        first = outbox.depart("registry", b"\x1f\x8bone")
        assert outbox.departures(9)[0].answer == UNDER_WAY
        outbox.departed(first, "taken")
        clock.advance(5)
        second = outbox.depart("webhook", b"two")
        assert [(one.way, one.body, one.answer) for one in outbox.departures(9)] == [
            ("webhook", b"two", UNDER_WAY),
            ("registry", b"\x1f\x8bone", "taken"),
        ]
        assert [one.id for one in outbox.departures(9, before=second)] == [first]
        assert outbox.departure(first).body == b"\x1f\x8bone"
        assert outbox.departure(99) is None

    def test_the_same_bytes_again_are_one_note_until_they_are_answered(self, outbox):
        first = outbox.depart("registry", b"one")
        assert outbox.depart("registry", b"one") == first
        outbox.departed(first, "taken")
        assert outbox.depart("registry", b"one") != first

    def test_what_never_left_is_not_noted(self, outbox):
        outbox.stayed(outbox.depart("registry", b"one"))
        assert outbox.departures(9) == []

    def test_the_oldest_are_forgotten_and_counted(self, tmp_path, clock):
        outbox = Outbox(folder=tmp_path, clock=clock, limits=OutboxLimits(departures_bytes_max=10))
        for number in range(4):
            outbox.depart("registry", b"%04d" % number)
        outbox.trim()
        assert [one.body for one in outbox.departures(9)] == [b"0003", b"0002"]
        assert outbox.number("departures_forgotten") == 2
        clock.advance(401 * 86_400)
        outbox.trim()
        assert outbox.departures(9) == []


class TestNotices:
    def test_a_notice_is_tried_later_and_later_and_given_up(self, tmp_path, clock):
        limits = OutboxLimits(notice_tries_max=3, notice_seconds=10)
        outbox = Outbox(folder=tmp_path, clock=clock, limits=limits)
        outbox.notify("webhook", b"x")
        for pause in (10, 20):
            (notice,) = outbox.notices(9)
            outbox.untold(notice)
            clock.advance(pause - 1)
            assert outbox.notices(9) == []
            clock.advance(1)
        (notice,) = outbox.notices(9)
        outbox.untold(notice)
        clock.advance(10**6)
        assert outbox.notices(9) == []
        assert outbox.number("notices_lost") == 1

    def test_a_flood_gives_up_the_oldest(self, tmp_path, clock):
        outbox = Outbox(folder=tmp_path, clock=clock, limits=OutboxLimits(notices_max=2))
        for number in range(5):
            outbox.notify("mail", b"%d" % number)
        assert [one.body for one in outbox.notices(9)] == [b"3", b"4"]
        assert outbox.number("notices_lost") == 3
        outbox.told(outbox.notices(1)[0])
        assert [one.body for one in outbox.notices(9)] == [b"4"]


class Conservation(RuleBasedStateMachine):
    """Every number that was given is waiting, sent or counted as lost."""

    @initialize(folder=st.just(None))
    def begin(self, folder):
        import tempfile
        from pathlib import Path

        self.clock = HeldClock()
        self.place = tempfile.TemporaryDirectory()
        self.limits = OutboxLimits(records_max=12)
        self.outbox = Outbox(folder=Path(self.place.name), clock=self.clock, limits=self.limits)
        self.given, self.gone = [], 0

    def teardown(self):
        self.place.cleanup()

    @rule(kind=st.sampled_from([Kind.MACHINE, Kind.WORK]), many=st.integers(1, 6))
    def add(self, kind, many):
        for _ in range(many):
            self.given.append(self.outbox.add(kind, WORK if kind is Kind.WORK else {}))

    @rule(many=st.integers(1, 5))
    def send(self, many):
        seqs = [one.seq for one in self.outbox.waiting(many)]
        self.outbox.sent(seqs)
        self.gone += len(seqs)

    @rule(seconds=st.sampled_from([60, 3600, 86_400, 50 * 86_400]))
    def wait(self, seconds):
        self.clock.advance(seconds)

    @rule()
    def trim(self):
        self.outbox.trim()
        assert self.outbox.backlog() <= self.limits.records_max

    @rule()
    def start_anew(self):
        self.outbox = Outbox(folder=self.outbox.folder, clock=self.clock, limits=self.limits)

    @invariant()
    def nothing_is_lost_uncounted(self):
        if hasattr(self, "given"):
            assert sorted(set(self.given)) == self.given
            lost = self.outbox.number("lost") or 0
            assert len(self.given) == self.outbox.backlog() + self.gone + lost


TestConservation = Conservation.TestCase
TestConservation.settings = settings(max_examples=8, stateful_step_count=15, deadline=None)
