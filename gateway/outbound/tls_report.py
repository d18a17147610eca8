"""What came of TLS with other mail servers, in the words of RFC 8460, for counters.

Purpose: `result_of` says of a failed connection which result type a TLS report (TLSRPT) would name.
Reports by mail are not written: counters say how often, without whom, since a domain can be one person's (P9).

Source: RFC 8460 4.3 (result types), 4.2 (kinds of policy).
"""

from typing import Final, Literal

from gateway.outbound.connect import ConnectFailed

Demand = Literal["tlsa", "sts", "no-policy-found"]
"""Which policy a connection was made under."""

_CERTIFICATE: Final = (
    ("expired", "certificate-expired"),
    ("hostname mismatch", "certificate-host-mismatch"),
    ("ip address mismatch", "certificate-host-mismatch"),
    ("self-signed", "certificate-not-trusted"),
    ("self signed", "certificate-not-trusted"),
    ("local issuer", "certificate-not-trusted"),
    ("issuer certificate", "certificate-not-trusted"),
    ("tlsa record", "tlsa-invalid"),
    ("trust anchor", "tlsa-invalid"),
)


def result_of(failed: ConnectFailed) -> str | None:
    """The result type of a connection that did not become ready; None where that was not about TLS."""
    if failed.kind == "tls":
        text = failed.outcome.text.lower()
        return next((result for words, result in _CERTIFICATE if words in text), "validation-failure")
    return "starttls-not-supported" if failed.outcome.stage == "starttls" and failed.kind is None else None
