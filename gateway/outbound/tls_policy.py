"""How much encryption a route asks of its hosts, and the TLS context that goes with it.

Never: TLS under 1.2 (RFC 8996), or a password over an unencrypted line that leaves this machine (client.py).
Failures: OSError or ssl.SSLError from `context_for` when the CA file cannot be read.

Port 465 speaks TLS from its first byte (RFC 8314 3.3), on any policy but `none`; elsewhere it is STARTTLS (RFC 3207).
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PolicyName = Literal["none", "opportunistic", "require", "verify"]
IMPLICIT_TLS_PORT = 465


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsPolicy:
    """`ask`: TLS is used where offered. `clear_too`: without TLS, or when it fails, the mail goes in clear.
    `verified`: the certificate must come from a known CA and name the host."""

    ask: bool
    clear_too: bool
    verified: bool


POLICIES: Mapping[PolicyName, TlsPolicy] = {
    "none": TlsPolicy(ask=False, clear_too=True, verified=False),
    "opportunistic": TlsPolicy(ask=True, clear_too=True, verified=False),  # RFC 7435: some protection beats none
    "require": TlsPolicy(ask=True, clear_too=False, verified=False),
    "verify": TlsPolicy(ask=True, clear_too=False, verified=True),
}


def context_for(policy: TlsPolicy, ca_file: Path | None = None) -> ssl.SSLContext | None:
    """The client context of a policy; None where TLS is not used. `ca_file` (PEM) stands in for the system's CAs."""
    if not policy.ask:
        return None
    context = ssl.create_default_context(cafile=str(ca_file) if ca_file is not None else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not policy.verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def starts_with_tls(policy: TlsPolicy, port: int) -> bool:
    """Whether the connection is encrypted from its first byte."""
    return policy.ask and port == IMPLICIT_TLS_PORT
