"""Every bound on running a network, each with its unit in its name (P10)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class InferenceLimits:
    """Bounds of one engine.

    Attributes:
        threads_max: threads of one call; 0 takes every core the process may use.
        golden_seconds_max: all golden cases of one package together, on this device.
        warm_up_side: length of an axis that the network leaves open, in the call that warms it up.
        build_seconds_max: one build of one engine, in its child process.
        build_memory_bytes_max: resident memory of that child and all it started.
        build_folder_bytes_max: what a build may write.
        probe_seconds_max: one question to a device's library, in a child process.
        build_retry_seconds: after a build that failed, until the same is tried again.
        store_engines_kept: built engines that stay on disk for one model and one kind of engine, the newest.
        store_bytes_max: all built engines together; the oldest go first.
        store_wait_seconds_max: how long one process waits for another that writes to the store.
        sidecar_bytes_max: what is written beside a built engine.
        reference_bytes_max: answers to one package's golden cases that are remembered, and kept on disk.
        selftest_seconds: how long the self-test asks one engine for one model again and again.
        crashes_max: crashes of one built engine, after which it is not tried again.
        crash_memory_seconds: how long a crash counts.
        crashes_wait_seconds_max: how long one process waits for another that writes the record of crashes.
        profile_batch_max: largest batch an engine is built for, unless the manifest asks for more.
        profile_side_min, profile_side, profile_side_max: length of an axis of a picture that neither network
            nor manifest fixes, for an engine that is built for shapes: at least, as a rule, at most.
        profile_volume_side, profile_volume_side_max: the same for a volume that is fed whole.
        workspace_bytes_max: scratch memory on the device that a builder may plan with.
        builder_lines_max: lines of a builder's log that are kept, the last ones.
        telling_lines_max: how many of them an error or a report quotes.
        unload_seconds_max: wait for a device to finish before its memory is given back.
        kserve_connect_seconds_max: until a remote server has taken a connection.
        kserve_control_seconds_max: one question about a remote server or a model on it.
        kserve_load_seconds_max: until a remote server has loaded a model that it was asked to load.
        kserve_passed_over_seconds: how long a remote server that failed is not asked again.
        kserve_refused_tries_max: connections tried for one call while nobody listens; nothing was sent yet.
        kserve_refused_wait_seconds: between two of them.
        kserve_answer_bytes_max: one answer of a remote server.
        serving_start_seconds_max: a serving child's first answer.
        serving_end_seconds_max: a serving child that closed its line, or a call in the way of an end.
        load_seconds_max: one load of one engine in its child.
        deadline_grace_seconds: how much later than its deadline a child may answer before it is killed.
        tensors_bytes_max: shared memory for the inputs of one call, and for its outputs.
        output_lines_max, output_line_length_max: what a child prints that is told; all of it is counted.
        queue_calls_max: calls that wait for one model; one more is refused.
        remote_again_seconds: after which a remote engine that was passed over is asked again.
        remote_calls_max: calls that one remote server gets at once, which joins them itself.
        memory_reserve_bytes: left to everything else where the site does not say what models may hold.
        memory_wait_seconds_max: how long a model waits for the memory of others that are in use.
        model_wait_seconds_max: how long a job waits for another that loads the same model.
        warm_up_calls_max: calls at the real shape before a model counts as ready; fewer once they are steady.
        warm_up_seconds: after so long no further call is made to warm a model up.
        warm_up_call_seconds_max: one of these calls; a model that takes longer cannot serve.
    """

    threads_max: int = 0
    golden_seconds_max: float = 600.0
    warm_up_side: int = 64
    build_seconds_max: float = 3600.0
    build_memory_bytes_max: int = 16 * 2**30
    build_folder_bytes_max: int = 16 * 2**30
    probe_seconds_max: float = 60.0
    build_retry_seconds: float = 86400.0
    store_engines_kept: int = 3
    store_bytes_max: int = 64 * 2**30
    store_wait_seconds_max: float = 3700.0
    sidecar_bytes_max: int = 4 * 2**20
    reference_bytes_max: int = 256 * 2**20
    selftest_seconds: float = 2.0
    crashes_max: int = 2
    crash_memory_seconds: float = 7 * 86400.0
    crashes_wait_seconds_max: float = 10.0
    profile_batch_max: int = 8
    profile_side_min: int = 16
    profile_side: int = 512
    profile_side_max: int = 1024
    profile_volume_side: int = 128
    profile_volume_side_max: int = 512
    workspace_bytes_max: int = 4 * 2**30
    builder_lines_max: int = 500
    telling_lines_max: int = 6
    unload_seconds_max: float = 10.0
    kserve_connect_seconds_max: float = 2.0
    kserve_control_seconds_max: float = 10.0
    kserve_load_seconds_max: float = 120.0
    kserve_passed_over_seconds: float = 30.0
    kserve_refused_tries_max: int = 3
    kserve_refused_wait_seconds: float = 0.25
    kserve_answer_bytes_max: int = 2**31 - 1
    serving_start_seconds_max: float = 120.0
    serving_end_seconds_max: float = 5.0
    load_seconds_max: float = 600.0
    deadline_grace_seconds: float = 2.0
    tensors_bytes_max: int = 4 * 2**30
    output_lines_max: int = 20
    output_line_length_max: int = 200
    queue_calls_max: int = 64
    remote_again_seconds: float = 60.0
    remote_calls_max: int = 8
    memory_reserve_bytes: int = 512 * 2**20
    memory_wait_seconds_max: float = 600.0
    model_wait_seconds_max: float = 4000.0
    warm_up_calls_max: int = 5
    warm_up_seconds: float = 30.0
    warm_up_call_seconds_max: float = 600.0
