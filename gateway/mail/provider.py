"""What known providers do to mail that is handed to them, by the names of their SMTP hosts: a table.

A signature over a field that a provider replaces is broken when the mail arrives. So `own` signatures leave those
fields out, and where a provider is known the usual thing is to let it sign (`upstream`) and to look at what arrives
(`consentgate doctor --loop`). Each row says where it is from; `verified` False: reported by somebody, or remembered,
and not read in the provider's own documents. A row that is wrong costs a field in a signature, never an unsigned mail:
who signs can always be set by hand.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

Signing = Literal["own", "upstream"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One row. `hosts`: patterns of SMTP host names, lower case. `rewrites`: fields it replaces, lower case.

    `rebuilds`: it makes a new message out of the parts, so that no signature made before can hold. `own_opt_out`: it
    may put its own List-Unsubscribe in place of ours, so that opt-outs go to it first. `spf`: what the SPF record of a
    return domain has to hold for it, None where that is told in its console.
    """

    name: str
    hosts: tuple[str, ...]
    rewrites: frozenset[bytes] = frozenset()
    rebuilds: bool = False
    own_opt_out: bool = False
    spf: str | None = None
    source: str
    verified: bool


_DATE, _ID = b"date", b"message-id"

PROVIDERS: tuple[Provider, ...] = (
    Provider(
        name="Amazon SES", hosts=("email-smtp*.amazonaws.com", "email-smtp*.amazonaws.com.cn"),
        rewrites=frozenset((_DATE, _ID)), spf="include:amazonses.com", verified=True,
        source="SES developer guide, 'Header fields' and 'Manual DKIM signing': Date and Message-ID are overridden",
    ),
    Provider(
        name="SendGrid", hosts=("smtp.sendgrid.net",), rewrites=frozenset((_ID,)), own_opt_out=True, verified=True,
        spf="include:sendgrid.net",
        source="SendGrid glossary, 'Message-ID': made for each message; subscription tracking sets its own opt-out",
    ),
    Provider(
        name="Postmark", hosts=("smtp.postmarkapp.com", "smtp-broadcasts.postmarkapp.com"),
        rewrites=frozenset((_ID,)), rebuilds=True, own_opt_out=True, verified=True, spf="include:spf.mtasv.net",
        source="Postmark developer guide, 'Send email with SMTP': a message is taken apart and assembled anew",
    ),
    Provider(
        name="Brevo", hosts=("smtp-relay.brevo.com", "smtp-relay.sendinblue.com"), rewrites=frozenset((_ID,)),
        spf="include:spf.brevo.com", verified=False,
        source="PHPMailer/PHPMailer#2859: Message-ID is always replaced, the first one is kept in a field of its own",
    ),
    Provider(
        name="Mailjet", hosts=("in-v3.mailjet.com", "in.mailjet.com"), rewrites=frozenset((_ID,)), own_opt_out=True,
        spf="include:spf.mailjet.com", verified=False,
        source="Notifuse/notifuse#348: List-Unsubscribe is replaced by its own",
    ),
    Provider(
        name="Mailgun", hosts=("smtp.mailgun.org", "smtp.eu.mailgun.org"), spf="include:mailgun.org", verified=False,
        source="mailgun/mailgun.js#394: a Message-ID that is well formed is kept",
    ),
    Provider(
        name="Mandrill", hosts=("smtp.mandrillapp.com",), rewrites=frozenset((_ID,)), verified=False,
        spf="include:spf.mandrillapp.com", source="not read anywhere; loop check it",
    ),
    Provider(
        name="SparkPost", hosts=("smtp.sparkpostmail.com", "smtp.eu.sparkpostmail.com"), rewrites=frozenset((_ID,)),
        verified=False, source="not read anywhere; loop check it",
    ),
    Provider(
        name="Resend", hosts=("smtp.resend.com",), rewrites=frozenset((_DATE, _ID)), verified=False,
        source="sends through Amazon SES",
    ),
    Provider(
        name="Elastic Email", hosts=("smtp.elasticemail.com",), rewrites=frozenset((_ID,)), own_opt_out=True,
        verified=False, source="not read anywhere; loop check it",
    ),
    Provider(
        name="Microsoft 365", hosts=("smtp.office365.com", "*.mail.protection.outlook.com"), rebuilds=True,
        spf="include:spf.protection.outlook.com", verified=False,
        source="operators report that bodies are encoded anew, which breaks signatures made before",
    ),
    Provider(
        name="Google Workspace", hosts=("smtp-relay.gmail.com", "smtp.gmail.com"), rewrites=frozenset((_ID,)),
        spf="include:_spf.google.com", verified=False, source="not read anywhere; loop check it",
    ),
)  # fmt: skip


def provider_of(host: str) -> Provider | None:
    """Whose SMTP host this is; None for one that is not known."""
    name = host.rstrip(".").lower()
    return next((one for one in PROVIDERS if any(fnmatchcase(name, pattern) for pattern in one.hosts)), None)


def omitted(hosts: Iterable[str]) -> frozenset[bytes]:
    """The fields that a signature of ours leaves out on a route to these hosts: what any of them rewrites."""
    known = filter(None, map(provider_of, hosts))
    return frozenset().union(*(one.rewrites for one in known))


def usual(hosts: Iterable[str]) -> Signing:
    """Who signs where nobody said: the provider where every host is one, else we, so that no mail leaves unsigned."""
    found = [provider_of(host) for host in hosts]
    return "upstream" if found and all(found) else "own"
