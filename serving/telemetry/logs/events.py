"""Every event that Vigil logs, by its stable name. `docs/logs.md` says what each asks for."""

from __future__ import annotations

import logging
from enum import Enum

DEBUG, INFO, WARNING = logging.DEBUG, logging.INFO, logging.WARNING
ERROR, CRITICAL = logging.ERROR, logging.CRITICAL


class Event(Enum):
    """One kind of fact.

    Attributes:
        label: its name in the log; never changed once it was released.
        level: its severity, a number of `logging`.
    """

    # The server and its processes.
    SERVER_READY = "server_ready", INFO
    SERVER_LEAVES = "server_leaves", INFO
    LEAVE_NOT_TOLD = "leave_not_told", WARNING
    SERVER_STOPPED = "server_stopped", INFO
    START_REFUSED = "start_refused", CRITICAL
    PROCESS_ENDED = "process_ended", WARNING
    PROCESS_REPLACED = "process_replaced", WARNING
    PROCESS_NOT_STARTED = "process_not_started", ERROR
    PROCESS_CRASHED = "process_crashed", CRITICAL
    THREAD_CRASHED = "thread_crashed", ERROR
    SUPERVISOR_STOPS = "supervisor_stops", CRITICAL
    RAY_LOST = "ray_lost", ERROR
    REPLICA_HUNG = "replica_hung", ERROR
    DIRECTORY_NOT_FOLLOWED = "directory_not_followed", ERROR
    PEER_UNREACHABLE = "peer_unreachable", WARNING
    PEER_BACK = "peer_back", INFO
    MEMBER_UNREADABLE = "member_unreadable", ERROR
    DIRECTORY_FOLLOWED = "directory_followed", DEBUG

    # Models and their versions.
    NO_MODEL = "no_model", WARNING
    MODEL_LOADED = "model_loaded", INFO
    MODEL_LOAD_FAILED = "model_load_failed", ERROR
    MODEL_UNLOADED = "model_unloaded", INFO
    VERSION_SERVED = "version_served", INFO
    VERSION_REFUSED = "version_refused", ERROR
    VERSION_UNPROVEN = "version_unproven", ERROR
    EARLIER_VERSION_SERVED = "earlier_version_served", ERROR
    SIGNATURE_CHANGED = "signature_changed", WARNING
    MODEL_MEASURED = "model_measured", INFO
    SETTING_WITHOUT_EFFECT = "setting_without_effect", WARNING

    # Requests.
    MODEL_FAILED = "model_failed", ERROR
    REQUEST_FAILED = "request_failed", ERROR
    REQUEST_REFUSED = "request_refused", WARNING
    INTERNAL_ERROR = "internal_error", ERROR
    BATCH_FAILED = "batch_failed", ERROR
    QUERY_OF_DEATH = "query_of_death", ERROR
    GUARD_FAILED = "guard_failed", ERROR
    GUARD_SKIPPED = "guard_skipped", ERROR
    EXPLAINER_FAILED = "explainer_failed", ERROR
    UPSTREAM_LOST = "upstream_lost", WARNING
    UPSTREAM_BACK = "upstream_back", INFO
    UPSTREAM_WATCHED = "upstream_watched", INFO

    # What is observed and kept.
    MONITOR_FAILED = "monitor_failed", ERROR
    MONITOR_BLIND = "monitor_blind", WARNING
    MONITOR_BEGAN_ANEW = "monitor_began_anew", WARNING
    OBSERVATION_FAILED = "observation_failed", ERROR
    REPORT_FAILED = "report_failed", ERROR
    STATE_NOT_SAVED = "state_not_saved", ERROR
    STATE_UNREADABLE = "state_unreadable", ERROR
    STATE_REPLAYED = "state_replayed", INFO
    STORE_BACK = "store_back", INFO
    INCIDENT_OPENED = "incident_opened", WARNING
    INCIDENT_CLOSED = "incident_closed", INFO
    WEBHOOK_FAILED = "webhook_failed", WARNING
    LABELS_LOST = "labels_lost", ERROR
    ENERGY_UNREADABLE = "energy_unreadable", INFO
    EXPORT_CHANGED = "export_changed", WARNING
    CLOUDEVENTS_NOT_TAKEN = "cloudevents_not_taken", WARNING
    TRACES_NOT_EXPORTED = "traces_not_exported", ERROR
    LOGS_NOT_EXPORTED = "logs_not_exported", ERROR
    METRICS_NOT_EXPORTED = "metrics_not_exported", ERROR
    VARIABLE_IGNORED = "variable_ignored", WARNING
    TRACES_NOT_WRITTEN = "traces_not_written", ERROR

    # What others say.
    LIBRARY_LOG = "library_log", INFO
    LIBRARY_WARNING = "library_warning", WARNING

    def __init__(self, label: str, level: int) -> None:
        self.label = label
        self.level = level
