"""The counters and gauges that /metrics serves, in the order in which docs/log-events.md lists them.

Their labels name results, routes, reason codes and causes, never a person (P9). log.py counts, beside each line.
"""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

MESSAGES: Final = Counter("consentgate_messages", "Messages answered after DATA.", ["result"])
DECISIONS: Final = Counter("consentgate_decisions", "Decisions made, per outcome.", ["decision", "reason_code"])
SIGNATURES: Final = Counter("consentgate_signature_checks", "Our signatures verified from what left.", ["result"])
COPIES: Final = Counter("consentgate_copies", "Copies that reached an end or were tried again.", ["route", "state"])
REPLIES_LOST: Final = Counter("consentgate_replies_lost", "Copies that may arrive twice.", ["route"])
HOSTS_FAILED: Final = Counter("consentgate_hosts_failed", "Smarthosts that did not get ready.", ["route", "stage"])
TLS: Final = Counter("consentgate_tls", "Attempts at TLS with mail servers of recipients.", ["policy", "result"])
MX_SESSIONS: Final = Gauge("consentgate_mx_sessions", "Copies on their way to mail servers now.", ["route"])
MX_RESTING: Final = Gauge("consentgate_mx_resting", "Mail servers that are given a rest now.", ["route"])
RESTING: Final = Gauge("consentgate_route_resting", "Processes for which no server of a route can be used.", ["route"])
OPT_OUTS: Final = Counter("consentgate_opt_outs", "Opt-outs recorded.", ["channel", "scope"])
SIGN_UPS: Final = Counter("consentgate_sign_ups", "Sign-ups, by what became of them.", ["outcome"])
TOLD: Final = Counter("consentgate_write_backs", "Attempts to tell others of what people said.", ["target", "outcome"])
REPORTS: Final = Counter("consentgate_reports", "Bounces, complaints and replies taken in.", ["kind"])
REPORTS_LIMITED: Final = Counter("consentgate_reports_limited", "Messages put off at the return path for their rate.")
HOOK_EVENTS: Final = Counter("consentgate_hook_events", "Events that providers told.", ["provider", "outcome"])
HOOKS_REFUSED: Final = Counter("consentgate_hooks_refused", "Requests of providers refused.", ["provider", "cause"])
CAMPAIGNS_STOPPED: Final = Counter("consentgate_campaigns_stopped", "Campaigns stopped by complaints.")
LOGIN_FAILURES: Final = Counter("consentgate_login_failures", "Logins refused.", ["door"])
REFUSED_CONNECTIONS: Final = Counter("consentgate_refused_connections", "SMTP connections refused.", ["cause"])
STORE_FAILURES: Final = Counter("consentgate_store_failures", "Times the store could not be used.", ["where"])
WORKERS_DIED: Final = Counter("consentgate_workers_died", "Worker processes that ended by themselves.")
BUGS: Final = Counter("consentgate_bugs", "Exceptions nobody expected.", ["where"])
SESSIONS: Final = Gauge("consentgate_sessions", "SMTP sessions now.")
HELD: Final = Gauge("consentgate_queue_held", "Copies held now.")
LATE: Final = Gauge("consentgate_queue_late_seconds", "For how long the first copy of a route has been due.", ["route"])
REFUSING: Final = Gauge("consentgate_refusing", "Processes that turn new mail away for want of room.")
QUEUE: Final = Gauge("consentgate_queue_copies", "Copies waiting now.")
ACCEPT_SECONDS: Final = Histogram("consentgate_accept_seconds", "From the end of DATA to the reply.", buckets=_SECONDS)
HAND_OVER_SECONDS: Final = Histogram("consentgate_hand_over_seconds", "One copy at the smarthost.", buckets=_SECONDS)
METRICS: Final = (
    MESSAGES, DECISIONS, COPIES, REPLIES_LOST, HOSTS_FAILED, SIGNATURES, TLS, MX_SESSIONS, MX_RESTING, OPT_OUTS,
    SIGN_UPS, TOLD, REPORTS, REPORTS_LIMITED, HOOK_EVENTS, HOOKS_REFUSED, CAMPAIGNS_STOPPED, LOGIN_FAILURES,
    REFUSED_CONNECTIONS, STORE_FAILURES, WORKERS_DIED, BUGS, SESSIONS, QUEUE, HELD, LATE, REFUSING, RESTING,
    ACCEPT_SECONDS,
    HAND_OVER_SECONDS,
)  # fmt: skip
