"""The one table of settings: name, kind, default, help.

It drives loading (reader.py), `check-config --example` and docs/settings.md. A setting that is not in it
stops the start. In a name, `*` stands for a name the installation chooses and `[]` for each entry of a list of tables.
"""

import json
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, get_args

from gateway.mail.control_fields import OWNERS
from gateway.settings import call_kinds as call
from gateway.settings import database_kinds as database
from gateway.settings import file_kinds as file
from gateway.settings import kinds as kind
from gateway.settings import rule_kinds as rule
from gateway.settings.kinds import Kind
from suppression.facts import StreamClass

REQUIRED: Final = object()


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table. `default` is in the form a file would have; None means absent is a value of its own."""

    name: str
    kind: Kind
    default: Any
    help: str


TERMS: Final = (
    "soft_opt_in_max_months", "consent_max_months_since_interaction", "implied_consent_months",
    "free_account_counts_as_sale", "pre_ticked_box_is_opt_out", "require_opt_in",
)  # fmt: skip
"""What a controller may say about a pack."""
FACTS: Final = ("transaction_ref", "ad_identifiable", "directed_at_children", "b2b_relevant", "charitable_only")
LANGUAGES: Final = ("nl", "en", "fr", "de")
CLASSES: Final = get_args(StreamClass)

SHORT: Final = {"routes.*.hosts[]": "host"}
"""Lists of tables whose entries may be written as text: the setting that the text is the value of."""

_MIB = 1024 * 1024

# fmt: off
SETTINGS: Final[tuple[Setting, ...]] = (
    Setting("public_url", kind.URL, REQUIRED, "Where recipients reach the web pages. https, except on loopback. Links in sent mail begin with it: it must stay reachable."),
    Setting("hostname", kind.DOMAIN, None, "Name given in SMTP greetings, EHLO and Received fields. Absent: the host of public_url."),
    Setting("trusted_proxies", kind.NETWORKS, [], "Addresses or networks of reverse proxies whose X-Forwarded-For is believed."),
    Setting("packs", file.FOLDER, None, "Folder of the installation's own jurisdiction packs, `*.toml` in the form of those that ship (`consentgate rules check` tries one). Absent: none."),
    Setting("bounce_rules", file.FILE, None, "The installation's own rules of what a bounce means, over and beside those that ship (docs/bounces.md). Absent: none."),
    Setting("promotional_rules", file.FILE, None, "The installation's own wording of advertising, over and beside what ships (docs/mislabelled.md). Absent: none."),
    Setting("node", kind.DOMAIN, None, "Name of this machine among those that share a database; it has to stay the same over a restart, and no two may have one. Absent: its host name."),
    Setting("database.url", database.DATABASE, "sqlite:consentgate.db", "Where messages, people and decisions are kept: `sqlite:FILE`, a relative path counting from this file, or `postgresql://USER@HOST:PORT/NAME?sslmode=verify-full`. Several hosts with commas: the one that takes writes is used (docs/scaling.md)."),
    Setting("database.password", kind.SECRET, None, "Password of that user, where the URL holds none. Absent: PGPASSWORD, or the user's .pgpass."),
    Setting("keys.installation", file.PATH, "keys/installation.key", "Installation key: lines `ID BASE64` (32 bytes); the highest id is current. Keep a copy elsewhere: without it nothing at rest can be read."),
    Setting("keys.database", database.KEYS, "keys.db", "Small database of the keys that personal data is encrypted under: a file, or beside PostgreSQL `postgresql://...` like database.url, another database, best on a server without archived WAL."),
    Setting("keys.password", kind.SECRET, None, "Password for that server, where its URL holds none."),
    Setting("listen.submission", kind.ADDRESSES, ["127.0.0.1:2525"], "SMTP submission with STARTTLS, HOST:PORT each."),
    Setting("listen.submissions", kind.ADDRESSES, [], "SMTP submission with implicit TLS, HOST:PORT each."),
    Setting("listen.web", kind.ADDRESS, "127.0.0.1:8080", "Web pages, one HOST:PORT."),
    Setting("listen.return_path", kind.ADDRESS, "127.0.0.1:2526", "SMTP for bounces, complaints and mailto opt-outs, one HOST:PORT."),
    Setting("tls.certificate", file.FILE, None, "Certificate chain (PEM) of the SMTP listeners. Needed for any listener off loopback."),
    Setting("tls.key", file.PRIVATE_FILE, None, "Private key (PEM) of that certificate; no access for group or others."),
    Setting("limits.message_bytes", kind.SIZE, 25 * _MIB, "Largest message taken, in bytes or as `25 MiB`; announced as SIZE."),
    Setting("limits.recipients", kind.COUNT, 1000, "Recipients per message; more are answered 452 4.5.3."),
    Setting("limits.connections", kind.COUNT, 1000, "SMTP connections at one time, of each door (submission, return path) and each worker process; the log says where the system's limit on open files allows fewer."),
    Setting("limits.connections_per_ip", kind.COUNT, 100, "The same from one address (IPv6: from one /64)."),
    Setting("limits.reports_per_minute", kind.COUNT, 600, "Messages a minute that the return path takes from one address (IPv6: one /64), in each worker process; more are answered 451 4.7.1 and come again. Raise it where one server of yours brings the bounces of large campaigns."),
    Setting("limits.idle_seconds", kind.SECONDS, 300, "How long an SMTP session may be silent between commands."),
    Setting("limits.data_seconds", kind.SECONDS, 600, "How long one DATA may take."),
    Setting("limits.concurrent_data", kind.COUNT, 50, "Messages received at one time; bounds the memory they take."),
    Setting("limits.queue_copies", kind.COUNT, 2_000_000, "Copies in the queue above which new mail is answered 452 4.3.1."),
    Setting("limits.free_disk_bytes", kind.SIZE, 200 * _MIB, "Free disk space below which new mail is answered 452 4.3.1."),
    Setting("log.format", kind.choice("text", "json"), "text", "Form of the log on standard error: key=value text or JSON lines."),
    Setting("log.level", kind.choice("debug", "info", "warning", "error"), "info", "Least level that is written."),
    Setting("ledger.heads_to", kind.MAILBOXES, [], "Addresses outside that get the signed heads of the ledger, daily where something was added: who holds them sees when the whole database was put back to an older state."),
    Setting("ledger.heads_controller", kind.NAME, None, "The controller in whose name heads are mailed. Absent: the only one."),
    Setting("ledger.heads_stream", kind.NAME, None, "The stream of that controller by whose route and domain they leave. Needed with heads_to."),
    Setting("dns.servers", kind.ADDRESSES, [], "Name servers that are asked, HOST:PORT each, HOST an address. Absent: those of the system."),
    Setting("dns.dnssec", kind.FLAG, False, "The name servers are on this machine and validate DNSSEC: what they mark as authentic is, and `mx` routes heed DANE (RFC 7672)."),
    Setting("dkim.verify_one_in", kind.COUNT, 1000, "Of so many copies handed over, the signatures of one are verified from the bytes that left; 1: of every copy. `doctor` and the overview tell of failures."),
    Setting("seed.address", kind.MAILBOX, None, "A mailbox of your own that the loop check writes to. It is a recipient like any other: it needs a consent for the purpose."),
    Setting("seed.imap", kind.ADDRESS, None, "Where that mailbox is read, HOST:PORT (IMAP, usually 993). Absent: only a capture route can be checked."),
    Setting("seed.tls", kind.choice("verify", "none"), "verify", "TLS from the first octet, certificate and name checked; `none` on loopback only."),
    Setting("seed.username", kind.TEXT, None, "Login of the mailbox. Absent: its address."),
    Setting("seed.password", kind.SECRET, None, "Password of the mailbox."),
    Setting("seed.folders", kind.TEXT_LIST, ["INBOX"], "Folders that are looked into, as [\"INBOX\", \"Junk\"]."),
    Setting("routes.*.kind", kind.choice("capture", "smarthost", "mx"), REQUIRED, "How copies leave. `capture` keeps them and shows them on the web page; nothing leaves. `mx` hands them to the mail servers of each recipient's domain (docs/operator.md, Sending directly)."),
    Setting("routes.*.tls", kind.choice("none", "opportunistic", "require", "verify"), None, "TLS to the next server; `verify` also checks its certificate and name. Absent: `verify` to a smarthost, `opportunistic` on an `mx` route, where DANE and MTA-STS ask for more; `none` heeds neither."),
    Setting("routes.*.username", kind.TEXT, None, "Login at the smarthosts that have none of their own."),
    Setting("routes.*.password", kind.SECRET, None, "Password of that login."),
    Setting("routes.*.token_file", file.PRIVATE_FILE, None, "In the place of a password: file with an OAuth 2 access token, which another program keeps fresh; read at each login (XOAUTH2, OAUTHBEARER)."),
    Setting("routes.*.dkim", kind.choice("own", "upstream"), None, "Who signs what leaves by this route: we (`own`), or the provider (`upstream`). Absent: `upstream` where every host is a known provider's, else `own`."),
    Setting("routes.*.return_path", kind.choice("auto", "always", "never"), "auto", "Whether copies leave with a return path of ours, so that reports come back here (needs a return_domain): `auto` says no where a `provider` is known: it puts in its own, and its hook tells instead."),
    Setting("routes.*.connections", kind.COUNT, None, "Connections to the next servers at one time, per worker. Absent: 10; on an `mx` route 100."),
    Setting("routes.*.domain_connections", kind.COUNT, 20, "`mx`: of those, how many to one mail server at most; it begins with two."),
    Setting("routes.*.port", kind.COUNT, 25, "`mx`: the port of all mail servers; another one is for trying out."),
    Setting("routes.*.inside", kind.NETWORKS, [], "`mx`: private and loopback networks in which mail servers of recipients may be, as [\"10.1.0.0/16\"]. Addresses inside that are not listed are never connected to, whatever DNS says."),
    Setting("routes.*.mta_sts", kind.FLAG, True, "`mx`: heed the MTA-STS policies of recipients' domains (RFC 8461), fetched by https."),
    Setting("routes.*.rate_per_second", kind.RATE, None, "Copies handed over per second at most, by all workers and nodes together. Absent: no limit."),
    Setting("routes.*.domain_rates", kind.DOMAIN_RATES, {}, 'Copies per second at most to one recipient domain, by all workers and nodes together, as { "example.com" = 5, "*" = 20 }; `*` is each domain that is not named. Copies for other domains pass by those that wait.'),
    Setting("routes.*.provider", kind.choice(*OWNERS), None, "Whose servers these are: that provider alone gets the header fields meant for it (X-SES-*, X-Mailgun-*, X-SMTPAPI ...). Absent: told by the host names; fields of any other provider are taken out."),
    Setting("routes.*.hosts[].host", kind.REMOTE, REQUIRED, 'A smarthost, HOST:PORT. An entry that says no more may be written as text: hosts = ["a.example:587", "b.example:587"].'),
    Setting("routes.*.hosts[].priority", kind.COUNT, None, "The lowest is asked first, the next when none of those before it can be used. Absent: the entry's place in the list; where any entry has a weight, 1."),
    Setting("routes.*.hosts[].weight", kind.COUNT, None, "Share of the connections among hosts of one priority. Absent: 1."),
    Setting("routes.*.hosts[].username", kind.TEXT, None, "Login at this host. Absent: that of the route."),
    Setting("routes.*.hosts[].password", kind.SECRET, None, "Password of that login."),
    Setting("routes.*.hosts[].token_file", file.PRIVATE_FILE, None, "In the place of a password: file with an access token, as for the route."),
    Setting("hooks.sns_hosts", call.PEERS, [], "Servers of your own that speak Amazon SNS, as NAME or NAME:PORT; SNS itself needs no entry."),
    Setting("write_back.authorities", call.AUTHORITIES, None, "Certificates (PEM) of authorities that are trusted besides the system's where the gateway calls others, as one of your own."),
    Setting("controllers.*.legal_name", kind.TEXT, "", "Legal name of the sender; marketing without it is blocked (SENDER_IDENTITY_MISSING)."),
    Setting("controllers.*.display_name", kind.TEXT, None, "Name that people know. Absent: the legal name."),
    Setting("controllers.*.postal_address", kind.TEXT, "", "Postal address, in the footer of marketing mail; where the law wants one, its absence blocks (POSTAL_ADDRESS_MISSING)."),
    Setting("controllers.*.opt_out_contact", kind.CONTACT, "", "E-mail address or URL for stop requests; absence blocks marketing (OPT_OUT_CONTACT_MISSING)."),
    Setting("controllers.*.notice_url", kind.URL, None, "Privacy notice, linked in footers and pages."),
    Setting("controllers.*.notice_version", kind.TEXT, "", "Version of that notice."),
    Setting("controllers.*.country", kind.COUNTRY, REQUIRED, "Country where the controller is established (ISO 3166)."),
    Setting("controllers.*.default_country", kind.COUNTRY, None, "Country assumed for recipients whose country is not known; wants a motivation. Absent: the strictest rules."),
    Setting("controllers.*.default_country_motivation", kind.TEXT, "", "Why that country may be assumed."),
    Setting("controllers.*.is_charity", kind.FLAG, False, "A charity in the law of every country it mails."),
    Setting("controllers.*.require_opt_in", kind.FLAG, False, "Mail on consent only; no soft opt-in and no other exception."),
    Setting("controllers.*.unmapped_links", kind.choice("ignore", "unknown"), "ignore", "What a link says that leads to a host named in `links` of a category and meets no pattern: nothing, or that the product is unknown (PRODUCT_CATEGORY_UNKNOWN)."),
    Setting("controllers.*.neutral_links", rule.LINKS, [], "Patterns of pages on such hosts that are about no product (home, account, privacy)."),
    Setting("controllers.*.language", kind.choice(*LANGUAGES), "en", "Language used when neither message nor person says."),
    Setting("controllers.*.timezone", kind.TIMEZONE, "UTC", "Time zone of dates shown to staff and recipients (IANA name)."),
    Setting("controllers.*.domains", kind.DOMAINS, REQUIRED, "Domains of the controller; the envelope sender must be in one of them or below."),
    Setting("controllers.*.return_domain", kind.DOMAIN, None, "Domain of the return path and of mailto opt-outs; its MX must point at listen.return_path."),
    Setting("controllers.*.helo", kind.DOMAIN, None, "Name given in EHLO on `mx` routes; it should lead to the source address, and back. Absent: hostname."),
    Setting("controllers.*.source_addresses", kind.IP_ADDRESSES, [], "Addresses of this machine from which its mail leaves on `mx` routes, one per family; a family without one is not used. Absent: as the system chooses."),
    Setting("controllers.*.heard_at", kind.MAILBOXES, [], "Further addresses whose mail is brought to listen.return_path: a no-reply address, the address given to a feedback loop."),
    Setting("controllers.*.accent", kind.COLOUR, "#14532d", "Accent colour of the recipient pages, #rrggbb."),
    Setting("controllers.*.write_back_hosts", call.PEERS, [], "Hosts that may be called to tell of opt-outs: NAME or NAME:PORT, always by https. A private address is called only where it is listed itself. `http://127.0.0.1:PORT`: on this machine without TLS."),
    Setting("controllers.*.packs.*.require_opt_in", kind.FLAG, False, "Under this pack (its code, or ALL): mail on consent only."),
    Setting("controllers.*.packs.*.soft_opt_in_max_months", rule.MONTHS, None, "Months a customer may be mailed after sale or end of contract; 0: only while a contract runs. Under ALL it only shortens. Absent: the pack's."),
    Setting("controllers.*.packs.*.consent_max_months_since_interaction", rule.SOME_MONTHS, None, "Months a consent stays fresh after the last deliberate act. Under ALL it only shortens. Absent: the pack's."),
    Setting("controllers.*.packs.*.implied_consent_months", rule.MONTHS_BY_KIND, {}, "Months of implied consent per kind of sale record (CA), as { purchase = 12, inquiry = 0 }; never longer than the law."),
    Setting("controllers.*.packs.*.free_account_counts_as_sale", kind.FLAG, None, "A free account makes somebody a customer (C-654/23); wants a motivation. Absent: the pack's."),
    Setting("controllers.*.packs.*.pre_ticked_box_is_opt_out", kind.FLAG, None, "Whether a pre-ticked box counts as the opt-out that a customer was offered. Absent: yes."),
    Setting("controllers.*.packs.*.motivation", kind.motivations(*TERMS), {}, "Why, per setting; needed where one is laxer than the pack, and shown by `consentgate rules show`."),
    Setting("controllers.*.purposes.*.title", kind.TITLES, REQUIRED, 'What recipients get, in their words and per language: { nl = "de nieuwsbrief" }.'),
    Setting("controllers.*.categories.*.parent", kind.NAME, None, "The category above this one; parent and child count as similar."),
    Setting("controllers.*.categories.*.similar_to", kind.NAMES, [], "Categories whose products are similar to these; wants a motivation."),
    Setting("controllers.*.categories.*.motivation", kind.TEXT, "", "Why those products are similar."),
    Setting("controllers.*.categories.*.links", rule.LINKS, [], "Pages of this category's products, as `shop.example/wine/*` or `*.shop.example/wine`: a message that names no category has those its links lead to."),
    Setting("controllers.*.categories.*.subjects", rule.SUBJECTS, [], "Words in the subject of mail about this category, without case and accents, `*` for the rest of a word."),
    Setting("controllers.*.streams.*.class", kind.choice(*CLASSES), REQUIRED, "What kind of mail this is."),
    Setting("controllers.*.streams.*.purpose", kind.NAME, None, "Purpose of mail that names none."),
    Setting("controllers.*.streams.*.purposes", kind.NAMES, [], "Further purposes a message may choose (login suffix or X-Consentgate-Purpose)."),
    Setting("controllers.*.streams.*.categories", kind.NAMES, [], "Product categories of mail that names none; a message may choose among them."),
    Setting("controllers.*.streams.*.from_domains", kind.DOMAINS, REQUIRED, "Domains that the From field may have, each one of the controller's."),
    Setting("controllers.*.streams.*.route", kind.NAME, "main", "How copies leave: the name of a route."),
    Setting("controllers.*.streams.*.mode", kind.choice("enforce", "rehearse", "observe"), "enforce", "What decisions do: `enforce` keeps out who may not be mailed; `rehearse` lets nothing leave and shows the verdict, to be released by hand; `observe` reports missing ground and form and lets the mail go, never past an opt-out, a restriction, an erasure, age, or a bought or harvested address: for the first weeks, with a motivation and an end."),
    Setting("controllers.*.streams.*.observe_until", kind.DAY, None, "With `observe`: the day (00:00 UTC) from which the stream enforces by itself, as 2026-12-15; at most 30 days off."),
    Setting("controllers.*.streams.*.on_block", kind.choice("record", "reject"), None, "What the sender hears about a blocked recipient: `record` (taken, kept out, reported) or `reject` (550). Absent: record for marketing, reject otherwise."),
    Setting("controllers.*.streams.*.bounces", kind.choice("both", "consume", "forward"), "both", "Where delivery reports on mail of this stream go: to our memory (`consume`), to the MAIL FROM that the tool gave (`forward`), or `both`. Opt-outs and complaints are heard in any case. Without a return_domain, and on a route that keeps no MAIL FROM, they go to the tool alone."),
    Setting("controllers.*.streams.*.footer", kind.choice("auto", "always", "never"), "auto", "`auto` adds the footer where a shown part has no opt-out link of ours; `never` demands that the message brings one."),
    Setting("controllers.*.streams.*.transaction_ref", kind.choice("stream", "header"), None, "Where it shows that mail belongs to a transaction: all mail of this stream, or the field X-Consentgate-Transaction."),
    Setting("controllers.*.streams.*.ad_identifiable", kind.FLAG, None, "Recognisable as advertising at first sight. Absent: no, which blocks where the law wants it."),
    Setting("controllers.*.streams.*.directed_at_children", kind.FLAG, None, "Aimed at, or likely used by, children. Absent: yes."),
    Setting("controllers.*.streams.*.b2b_relevant", kind.FLAG, None, "The offers relate to the recipient's business role. Absent: no."),
    Setting("controllers.*.streams.*.uses_special_category", kind.FLAG, False, "Selection or content rests on health, belief or other sensitive data of the recipient; then explicit consent alone allows it."),
    Setting("controllers.*.streams.*.charitable_only", kind.FLAG, None, "The sole aim is the sender's own charitable purpose. Absent: no."),
    Setting("controllers.*.streams.*.mislabelled", kind.choice("block", "hold", "allow-and-flag"), "block", "What becomes of mail of a service stream that looks like advertising: `block` (it counts as marketing, and is refused where nobody may get that), `hold` (it waits for an answer, at most retry_for), `allow-and-flag` (sent and reported; wants a motivation). See docs/mislabelled.md."),
    Setting("controllers.*.streams.*.motivation", kind.motivations(*FACTS, "observe", "mislabelled"), {}, 'Why each declared fact of this stream is true: motivation.ad_identifiable = "..." and so on; and why it may observe.'),
    Setting("controllers.*.streams.*.language", kind.choice(*LANGUAGES), None, "Language of the footer when neither message nor person says. Absent: the controller's."),
    Setting("controllers.*.streams.*.retry_for", kind.DURATION, None, "How long hand-over is tried, as `2d`, `12h`, `30m`. Absent: 2d for marketing, 5d otherwise."),
    Setting("controllers.*.streams.*.dkim", kind.choice("own", "upstream"), None, "Who signs the mail of this stream. Absent: as its route says."),
    Setting("controllers.*.streams.*.list_id", kind.DOMAIN, None, "List-Id of marketing mail that brings none. Absent: STREAM.CONTROLLER.DOMAIN, the first of from_domains."),
    Setting("controllers.*.streams.*.write_back_hosts", call.PEERS, [], "Hosts that may be called besides the controller's, for the one-click addresses in mail of this stream."),
    Setting("controllers.*.streams.*.advertiser.id", kind.NAME, None, "Whose offers this stream carries, where they are not the controller's own: the name used in `advertisers` of consents. The customer exception does not cover them."),
    Setting("controllers.*.streams.*.advertiser.legal_name", kind.TEXT, "", "Legal name of that advertiser, in the footer beside the sender's; its absence blocks (SENDER_IDENTITY_MISSING)."),
    Setting("controllers.*.forms.*.purposes", kind.NAMES, REQUIRED, "What this sign-up form offers: a box per purpose, none of them ticked. The form is at PUBLIC_URL/s/CONTROLLER/FORM."),
    Setting("controllers.*.forms.*.stream", kind.NAME, REQUIRED, "The stream by whose route the mail leaves that asks to confirm."),
    Setting("controllers.*.forms.*.from", kind.CONTACT, REQUIRED, "Address that mail comes from; its domain is one of the stream's, and has a DKIM key."),
    Setting("controllers.*.forms.*.title", kind.TEXTS, {}, "Heading of the form per language. Absent: a sentence with the name of the sender."),
    Setting("controllers.*.forms.*.intro", kind.TEXTS, {}, "What people may expect, per language."),
    Setting("controllers.*.forms.*.frequency", kind.TEXTS, {}, "How often it comes, per language, as { nl = \"Eens per week.\" }."),
    Setting("controllers.*.forms.*.double_opt_in", kind.FLAG, True, "Ask for a confirmation from the mailbox itself. Without it anybody can sign up anybody, and no earlier opt-out is lifted."),
    Setting("controllers.*.forms.*.ask_birth_date", kind.FLAG, None, "Ask for the date of birth. Absent: when a stream of these purposes is aimed at children."),
    Setting("controllers.*.forms.*.keep_origin", kind.FLAG, True, "Keep IP address and user agent of a sign-up, sealed, for twelve months."),
    Setting("controllers.*.forms.*.hourly", kind.COUNT, 1000, "Sign-ups that this form takes in an hour."),
    Setting("controllers.*.forms.*.hourly_per_network", kind.COUNT, 20, "Sign-ups that it takes in an hour from one IPv4 address or IPv6 /64."),
    Setting("controllers.*.logins.*.password_hash", kind.PASSWORD_HASH, None, "argon2 hash of the SMTP password (`consentgate user hash` makes one)."),
    Setting("controllers.*.logins.*.streams", kind.NAMES, REQUIRED, "Streams this login may use; the first is used when the message names none."),
    Setting("controllers.*.logins.*.allowed_ips", kind.NETWORKS, [], "Addresses or networks that may use this login; without a password_hash they need no password."),
    Setting("controllers.*.dkim[].domain", kind.DOMAIN, REQUIRED, "Domain that signs; one of the controller's."),
    Setting("controllers.*.dkim[].selector", kind.SELECTOR, REQUIRED, "Selector: the record is at SELECTOR._domainkey.DOMAIN."),
    Setting("controllers.*.dkim[].key", file.PRIVATE_FILE, REQUIRED, "Private key (PEM), RSA or Ed25519; no access for group or others."),
    Setting("controllers.*.dkim[].state", kind.choice("signing", "waiting", "retired"), "signing", "`waiting`: made, not used yet. `retired`: used no more, its record stays published a while. `consentgate dkim` sets it."),
    Setting("controllers.*.dkim[].retired_at", kind.INSTANT, None, "Since when a retired key signs no more."),
    Setting("controllers.*.webhooks.*.url", kind.URL, REQUIRED, "Endpoint that is told of opt-outs, erasures, restrictions and corrections (Standard Webhooks); its host is in write_back_hosts."),
    Setting("controllers.*.webhooks.*.secret", call.WEBHOOK_SECRET, REQUIRED, "Secret that signs: `whsec_` and 24 to 64 bytes in base64."),
    Setting("controllers.*.webhooks.*.old_secret", call.WEBHOOK_SECRET, None, "The secret before it, while the receiver exchanges them: both sign."),
    Setting("controllers.*.webhooks.*.streams", kind.NAMES, [], "Tell only of people whom mail of these streams was for. Absent: of everybody."),
    Setting("controllers.*.webhooks.*.advertiser", kind.NAME, None, "The endpoint is that of this advertiser: it is told only of people who got its offers, and only address and time."),
    Setting("controllers.*.webhooks.*.company", kind.TEXT, "", "Whose system it is, as people who ask what is stored about them read it (GDPR art. 15(1)(c)). Absent: an advertiser's legal name, else only the host is named."),
    Setting("controllers.*.tools.*.kind", kind.choice("listmonk", "mautic", "mailchimp"), REQUIRED, "What the tool is; it is told of opt-outs through its own API."),
    Setting("controllers.*.tools.*.company", kind.TEXT, "", "Who runs the tool, as people who ask what is stored about them read it (GDPR art. 15(1)(c)). Absent: only its host is named."),
    Setting("controllers.*.tools.*.url", kind.URL, REQUIRED, "Where the tool is, as `https://lists.example.com`; for Mailchimp `https://us1.api.mailchimp.com/3.0`. Its host is in write_back_hosts."),
    Setting("controllers.*.tools.*.username", kind.TEXT, None, "User of the tool's API; Mailchimp needs none."),
    Setting("controllers.*.tools.*.password", kind.SECRET, REQUIRED, "Password, token or API key of that user."),
    Setting("controllers.*.tools.*.lists", call.LISTS, REQUIRED, 'What each purpose is in the tool: ids of lists (listmonk), segments (Mautic) or audiences (Mailchimp), as { newsletter = ["3"] }. ["*"]: the whole tool, which blocklists or sets do-not-contact. An opt-out of everything always does.'),
    Setting("controllers.*.tools.*.on_erasure", kind.choice("stop", "delete"), "stop", "What an erasure does in the tool: like an opt-out of everything, or delete the person there."),
)
# fmt: on


def example() -> str:
    """Every setting as a TOML comment with its default, under its table; taking away the `#` leaves valid TOML."""
    lines = ["# Every setting of Consentgate with its default. NAME stands for a name of your choice.", ""]
    for table, rows in groupby(SETTINGS, lambda setting: setting.name.rpartition(".")[0]):
        if table:
            shown = table.replace("*", "NAME")
            lines += ["", f"#[[{shown[:-2]}]]" if table.endswith("[]") else f"#[{shown}]"]
        for row in rows:
            lines += [f"# {row.help}", f"#{row.name.rpartition('.')[2]} = {_toml(row)}  # {_nature(row)}"]
    return "\n".join(lines) + "\n"


def markdown() -> str:
    """docs/settings.md: the table as people read it."""
    lines = [
        "# Settings",
        "",
        "One TOML file. `*` stands for a name of your choice, `[]` for each entry of a list of tables. Relative paths count",
        "from the folder of the file. A secret may also come from a file (`NAME_file`) or an environment variable",
        "(`NAME_env`). `consentgate check-config --example` prints all of this as a file to start from.",
    ]
    for table, rows in groupby(SETTINGS, lambda setting: setting.name.rpartition(".")[0]):
        lines += ["", f"## {table or 'top level'}", "", "| setting | form | default | meaning |", "|---|---|---|---|"]
        for row in rows:
            form = row.kind.name.replace("|", "\\|") + (" (secret)" if row.kind.secret else "")
            default = "required" if row.default is REQUIRED else "none" if row.default is None else f"`{_toml(row)}`"
            lines.append(
                f"| `{row.name.rpartition('.')[2]}` | {form} | {default} | {row.help.replace('|', chr(92) + '|')} |"
            )
    return "\n".join(lines) + "\n"


def _toml(row: Setting) -> str:
    """The default as TOML; an absent one as an empty value of its kind's shape, to be filled in."""
    if row.default is REQUIRED or row.default is None:
        return "{}" if row.kind.empty == {} else "[]" if row.kind.empty == () else '""'
    return "{}" if row.default == {} else json.dumps(row.default)


def _nature(row: Setting) -> str:
    return f"{row.kind.name}; {'required' if row.default is REQUIRED else 'optional'}"
