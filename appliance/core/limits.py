"""Every bound of the box that is not the wire's or a decoder's, each with its unit in its name (P10).

The wire's bounds are in `dicom_node.limits`; a decoder's and an engine's stand beside them in their rooms.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of queues, buffers, times and counts."""

    # Rows that wait for the ledger after their bytes are durable; a full queue slows the sender down.
    rows_waiting_max: int = 2_000
    # One ledger transaction holds at most this many new instances, so that no reader waits long.
    rows_per_commit_max: int = 500
    # Refused instances that get a row each; beyond it the log alone tells, so that a flood fills no disk.
    refusal_rows_per_minute_max: int = 120
    # Rows that come within this time share a commit: each commit is a sync that the arrivals also wait for.
    rows_gather_seconds: float = 0.05
    # While more keep coming they are gathered this long. A study's silence is told by its rows, so it must
    # stay well below any quiet time.
    rows_gather_seconds_max: float = 0.25
    # How long a thread may keep the interpreter from one that receives; Python's own 5 ms is ten images long.
    thread_switch_seconds: float = 0.0005
    # Turns of the processor on a machine whose models keep it busy; it is the shortest that Linux gives.
    turn_seconds: float = 0.0001
    # A free-space check costs a system call, so its answer is good for this long.
    space_check_seconds: float = 1.0

    # A lease outlives a slow heartbeat several times over, but not a dead worker by long.
    lease_seconds: float = 30.0
    heartbeat_seconds: float = 5.0
    # Longer than every bound on the parts of a job together: a job that is older has come to a stand.
    job_seconds_max: float = 3 * 3600.0
    # After this many workers died of it, a job is HELD (F47).
    kills_max: int = 3
    # A failure that may pass (a file system error, say) is tried this often.
    attempts_max: int = 3
    retry_seconds: float = 10.0
    notice_attempts_max: int = 3

    # Answers that wait until a shadow of their model has seen the same images.
    shadow_answers_waiting_max: int = 200
    # A comparison over which so many workers died ends, and so does a shadow over which so many did in all.
    shadow_kills_max: int = 2
    shadow_deaths_max: int = 5
    # How often one comparison begins: each time that the box's own work came first is one.
    shadow_starts_max: int = 8
    # Jobs without a row are looked for so often, and none that ended only just now.
    shadow_sweep_seconds: float = 30.0
    shadow_settle_seconds: float = 60.0
    shadow_jobs_per_sweep_max: int = 500
    # A shadow has seen enough after so many; by then an interval of agreement is a percent wide.
    shadow_comparisons_max: int = 20_000

    # How long a process sleeps when no bell rings. Losing every bell costs at most this (design, "One idea").
    poll_seconds: float = 1.0
    # No two turns of the conductor begin closer than this, however often the bell rings.
    turn_seconds_min: float = 0.1
    tickets_waiting_max: int = 1_000

    delivery_batch_max: int = 200
    # The objects of a batch are in memory together, and so are those of every other peer.
    delivery_batch_bytes_max: int = 256 * 2**20
    delivery_lease_seconds: float = 300.0
    delivery_backoff_seconds: float = 5.0
    delivery_backoff_seconds_max: float = 900.0
    # A permanent refusal is asked again this often before a person must look (F53).
    refusals_max: int = 3

    # An archive may file what it took only after it answered, so it is asked a moment later (PS3.4 J).
    commitment_settle_seconds: float = 5.0
    commitment_references_max: int = 200
    # How long a report may take; each request that is not answered doubles it. Some archives report at night.
    commitment_report_seconds: float = 600.0
    commitment_report_seconds_max: float = 21_600.0
    # Requests without a report before a person must look: about a day.
    commitment_asks_max: int = 8
    # How often a peer may lose one object that it accepted (F54).
    commitment_losses_max: int = 3
    # What peers ask the box to commit: rows follow the bytes by a batch, and until then nothing is missing.
    promise_rows_seconds: float = 4.0
    # How long a report waits for the association of its request before a new one is opened.
    promise_same_seconds: float = 15.0
    promises_waiting_max: int = 1_000
    promise_backoff_seconds: float = 10.0
    promise_backoff_seconds_max: float = 900.0
    promise_tries_max: int = 20

    # Notices of one peer that count at once, and the instances that they name: a large department's day.
    notices_open_max: int = 20_000
    notice_instances_open_max: int = 5_000_000
    # How long a notice counts after it said something new; that of a study that gathers counts longer.
    notice_keep_seconds: float = 86_400.0
    notices_per_turn_max: int = 50

    # What a destination said it takes is asked anew after this time; one that was silent, sooner.
    acceptance_seconds_max: float = 86_400.0
    ask_again_seconds: float = 60.0

    # How soon after a fetch it is looked whether everything came, and how soon it is tried again if not.
    reconcile_check_seconds: float = 10.0
    reconcile_backoff_seconds: float = 600.0
    reconcile_backoff_seconds_max: float = 21_600.0
    # Studies of which something was given up: how many of them a PACS is asked about at each look.
    reconcile_studies_max: int = 50

    # A study that a person asked for: how often it is tried, how soon it is looked whether all of it came,
    # and how soon it is tried again if not, a little later each time.
    fetch_attempts_max: int = 5
    fetch_check_seconds: float = 2.0
    fetch_again_seconds: float = 30.0

    # Workitems that a worklist has scheduled for this box and that are looked through at once; and how soon a
    # request about one that came to nothing is made again, a little later each time and for ever.
    worklist_workitems_max: int = 1_000
    worklist_backoff_seconds: float = 5.0
    worklist_backoff_seconds_max: float = 900.0

    # How soon peers are asked again for earlier studies of a patient when none of them answered.
    priors_ask_again_seconds: float = 20.0
    # A study of the last days may be on its way here by itself, and is judged as any study.
    priors_recent_seconds: float = 3 * 86_400.0

    # How long SQLite may look through the ledger's file before the box starts, how soon after its start the
    # conductor has it looked through beside the work, how often from then on, and how long each time.
    ledger_start_look_seconds_max: float = 10.0
    ledger_first_look_seconds: float = 60.0
    ledger_look_every_seconds: float = 86_400.0
    ledger_look_seconds_max: float = 1_800.0

    # A wall clock that is off by so much from one look to the next was set; slewing is less.
    clock_step_seconds_min: float = 2.0

    restart_seconds: float = 1.0
    restart_seconds_max: float = 30.0
    drain_seconds: float = 30.0


DEFAULT = Limits()
