"""A judge of copies that shares no code with the rewriter: standard library, html5lib, dkimpy and its own eyes.

It is given the message that came in and the copy that leaves, and says what is wrong with the copy; nothing said means
that a reader sees one opt-out in everything that is displayed, and that all else is what it was, to the octet.

    python -m tests.judge IN.eml OUT.eml https://.../u/TOKEN

Where the standard library reads the incoming message otherwise than RFC 5322 does (a blank before a field's colon),
only octets and line ends are judged, and the verdict says so by its `read` being false.
"""

import binascii
import codecs
import email
import email.policy
import html
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from urllib.parse import quote

import dkim
import html5lib

OURS = frozenset(
    ("list-unsubscribe", "list-unsubscribe-post", "bcc", "resent-bcc", "x-mailtrain-dkim", "content-length", "lines")
)
"""Fields that a copy may lose, or gain anew."""
ADDED = ("list-id", "feedback-id", "date", "message-id")
"""Fields that a copy may gain where there is none."""
SIGNATURES = ("dkim-signature", "domainkey-signature")
STALE = ("content-md5", "content-length", "lines")
UNSEEN = frozenset(
    ("head", "title", "script", "style", "template", "textarea", "select", "option", "iframe", "object", "audio",
     "video", "noframes", "noembed", "datalist", "canvas", "svg", "math", "frameset")
)  # fmt: skip
HIDING = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0(?![.\d])|max-height\s*:\s*0(?![.\d])|opacity\s*:\s*0(?![.\d])",
    re.IGNORECASE,
)
KNOWN = ("7bit", "8bit", "binary", "quoted-printable", "base64", "7-bit", "8-bit", "7bits", "8bits", "none", "plain",
         "text/plain", "text/html", "us-ascii", "utf-8")  # fmt: skip
"""Transfer encodings, with words that tools put in their place by mistake."""
CHARSETS = {"iso-8859-8-i": "iso-8859-8", "iso-8859-8-e": "iso-8859-8", "macintosh": "mac_roman"}
"""Charsets that mail has and Python knows under another name."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is judged: the message as it came, a copy, and the opt-out address that belongs into it.

    `replaced`: addresses and placeholders in whose place the opt-out may stand. `keys`: DNS names and TXT records,
    where the copy is signed. `relayed`: no line may be over 998 octets. `marketing` False: no opt-out belongs into it.
    """

    before: bytes
    after: bytes
    link: str
    replaced: Sequence[str] = ()
    keys: Mapping[bytes, bytes] | None = None
    relayed: bool = True
    marketing: bool = True


@dataclass(kw_only=True)
class Verdict:
    """What is wrong; which leaves were edited, by IMAP part number; whether the message could be read at all."""

    faults: list[str] = field(default_factory=list)
    edited: list[str] = field(default_factory=list)
    read: bool = True


def judge(case: Case) -> Verdict:
    """Judge one copy."""
    verdict = Verdict()
    say = verdict.faults.append
    _lines(case, say)
    before, after = _read(case.before), _read(case.after)
    if any(type(d).__name__ == "MissingHeaderBodySeparatorDefect" for part in _own(before) for d in part.defects):
        verdict.read = False
        return verdict
    shown = dict(displayed(before)) if case.marketing else {}
    old, new = dict(leaves(before)), dict(leaves(after))
    if list(old) != list(new):
        say(f"parts {list(old)} became {list(new)}")
        return verdict
    for path, part in old.items():
        same = _body(part) == _body(new[path]) if part is before else _octets(part) == _octets(new[path])
        if same and path not in shown:
            continue
        if path not in shown:
            if not (case.relayed and _reencoded(part, new[path])):
                say(f"{path}: not displayed, and not what it was")
            continue
        verdict.edited.append(path)
        _edited(case, path, part, new[path], say)
    _structure(before, after, say)
    _head(case, before, after, {path for path, part in shown.items() if part is before}, say)
    for name in sorted(set(_defects(after)) - set(_defects(before))):
        say(f"new defect {name}")
    if case.keys is not None:
        _signed(case.after, case.keys, say)
    return verdict


# --- reading


def _read(raw: bytes) -> Message:
    return email.message_from_bytes(raw, policy=email.policy.compat32)


def _own(part: Message) -> Iterator[Message]:
    """The message and its parts, but nothing of what is forwarded in it."""
    yield part
    if part.get_content_maintype() == "multipart" and isinstance(part.get_payload(), list):
        for child in part.get_payload():
            yield from _own(child)  # type: ignore[arg-type]


def _defects(message: Message) -> list[str]:
    return [type(defect).__name__ for part in message.walk() for defect in part.defects]


def leaves(part: Message, path: str = "") -> Iterator[tuple[str, Message]]:
    """Every leaf by its IMAP part number; what is forwarded is one leaf."""
    if part.get_content_maintype() == "multipart" and isinstance(part.get_payload(), list):
        for number, child in enumerate(part.get_payload(), 1):
            yield from leaves(child, f"{path}.{number}" if path else str(number))  # type: ignore[arg-type]
    else:
        yield path or "1", part


def _octets(part: Message) -> bytes:
    """A leaf's header and body as they stand in the message."""
    head = "".join(f"{name}:{value}\r\n" for name, value in _raw_fields(part))
    payload = part.get_payload()
    inner = "".join(one.as_string() for one in payload) if isinstance(payload, list) else _body(part)  # type: ignore[union-attr]
    return (head + "\r\n" + inner).encode("utf-8", "surrogateescape")


def _body(part: Message) -> str:
    """A leaf's body as it came; octets over 127 are surrogates."""
    return str(part._payload)  # type: ignore[attr-defined]


def _raw_fields(part: Message) -> list[tuple[str, str]]:
    """Names and values as they came; `get` would make values with octets over 127 into something else."""
    return list(part._headers)  # type: ignore[attr-defined]


def decoded(part: Message) -> bytes:
    """A leaf's content; base64 without its padding, as some send it, is read nevertheless."""
    body = _body(part).encode("ascii", "surrogateescape")
    encoding = _encoding(part)
    if encoding == "quoted-printable":
        return binascii.a2b_qp(body)
    if encoding == "base64":
        try:
            return binascii.a2b_base64(body)
        except binascii.Error:
            digits = re.sub(rb"[^A-Za-z0-9+/]", b"", body)
            digits = digits[: len(digits) - (len(digits) % 4 == 1)]
            return binascii.a2b_base64(digits + b"=" * (-len(digits) % 4))
    return body


def written(part: Message) -> str | None:
    """A leaf as its charset says; None when that is unknown, or its octets are none of that charset."""
    name = str(part.get_content_charset() or "us-ascii")
    name = CHARSETS.get(name, name)
    try:
        data = decoded(part)
        if codecs.lookup(name).name in ("punycode", "idna") or (
            name.startswith(("utf-16", "utf-32")) and b"\0" not in data
        ):
            return None  # no charset; or said to be wide and it is not
        return data.decode(name)
    except (LookupError, UnicodeError, ValueError):
        return None


# --- what is displayed


def displayed(part: Message, path: str = "", *, root: bool = True) -> list[tuple[str, Message]]:
    """The leaves a reader is shown: of alternatives one of each kind, else the first that shows anything."""
    found = _displayed(part, path, root=root, named=False)
    return found or _displayed(part, path, root=root, named=True)


def _displayed(part: Message, path: str, *, root: bool, named: bool) -> list[tuple[str, Message]]:
    kind = _kind(part)
    disposition = str(part.get("content-disposition", "")).partition(";")[0].strip().lower()
    if disposition == "attachment":
        return []
    if part.get_content_maintype() != "multipart" or not isinstance(part.get_payload(), list):
        if kind not in ("text/plain", "text/html") or _encoding(part) not in KNOWN:
            return []  # what is encoded in a way nobody knows is no text (RFC 2045 section 6.4)
        named_part = part.get_param("filename", None, "content-disposition") is not None
        return [] if named_part and not root and not named else [(path or "1", part)]
    children = [
        (f"{path}.{n}" if path else str(n), child)
        for n, child in enumerate(part.get_payload(), 1)
        if isinstance(child, Message)
    ]
    if kind == "multipart/related":
        start = str(part.get_param("start", "")).strip("<> ")
        children.sort(key=lambda one: bool(start) and str(one[1].get("content-id", "")).strip("<> ") != start)
    found: list[tuple[str, Message]] = []
    for where, child in children:
        if kind != "multipart/alternative" and not named and not child.is_multipart() and not _body(child).strip():
            continue  # an empty text shows nothing
        below = _displayed(child, where, root=False, named=named)
        have = {one.get_content_type() for _, one in found}
        found += [one for one in below if one[1].get_content_type() not in have]
        if found and kind != "multipart/alternative":
            break
    return found


def visible_links(document: str, link: str) -> int:
    """How often a reader can click on the link: never in comments, styles, scripts, nor in what is hidden."""
    tree = html5lib.parse(document, treebuilder="etree", namespaceHTMLElements=False)
    return sum(1 for anchor in _anchors(tree, hidden=False) if anchor.get("href", "").strip() == link)


def visible_text(document: str) -> str:
    """What a page shows, on one line."""
    tree = html5lib.parse(document, treebuilder="etree", namespaceHTMLElements=False)
    return " ".join("".join(_texts(tree)).split())


def _hides(element: ET.Element) -> bool:
    if not isinstance(element.tag, str):
        return True  # a comment, a conditional one included
    name = element.tag.rpartition("}")[2]
    return name in UNSEEN or "hidden" in element.attrib or bool(HIDING.search(element.get("style", "")))


def _anchors(element: ET.Element, *, hidden: bool) -> Iterator[ET.Element]:
    waiting = [element]
    while waiting:
        one = waiting.pop()
        if _hides(one):
            continue
        if one.tag == "a" and ("".join(_texts(one)).strip() or one.find(".//img") is not None):
            yield one
        waiting.extend(one)


def _texts(element: ET.Element) -> Iterator[str]:
    waiting: list[ET.Element | str] = [element]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
            continue
        inner: list[ET.Element | str] = []
        if not _hides(one):
            inner.append(one.text or "")
            for child in one:
                inner += [child, child.tail or ""]
        waiting.extend(reversed(inner))


# --- judging


def _reencoded(old: Message, new: Message) -> bool:
    """Whether a leaf that could not be relayed, for its long lines, is the same in another transfer encoding."""
    return max(map(len, _body(old).split("\r\n"))) > 998 and decoded(old) == decoded(new)


def _lines(case: Case, say: Callable[[str], object]) -> None:
    raw = case.after
    if b"\0" in raw or raw.count(b"\r\n") != raw.count(b"\n") or raw.count(b"\r") != raw.count(b"\n"):
        say("a bare CR, a bare LF or a NUL")
    head = raw.partition(b"\r\n\r\n")[0]
    if max(map(len, head.split(b"\r\n"))) > max(998, *map(len, case.before.partition(b"\r\n\r\n")[0].split(b"\r\n"))):
        say("a new header line over 998 octets")
    longest = max(map(len, raw.split(b"\r\n")))
    if longest > 998 and (case.relayed or longest > max(map(len, case.before.split(b"\r\n")))):
        say(f"a line of {longest} octets")


def _structure(before: Message, after: Message, say: Callable[[str], object]) -> None:
    """Multiparts: type, header, what stands before the first and behind the last part."""
    for old, new in zip(before.walk(), after.walk(), strict=True):
        if old.get_content_type() != new.get_content_type():
            say(f"{old.get_content_type()} became {new.get_content_type()}")
        if not old.is_multipart() or old.get_content_maintype() != "multipart":
            continue
        if (old.preamble, old.epilogue) != (new.preamble, new.epilogue):
            say("what stands around the parts is not what it was")
        if old is not before and _raw_fields(old) != _raw_fields(new):
            say("the header of a multipart is not what it was")


def _head(case: Case, before: Message, after: Message, root_edited: set[str], say: Callable[[str], object]) -> None:
    old, new = _fields(before), _fields(after)
    names = [name for name, _ in new]
    if case.marketing:
        for name in ("list-unsubscribe", "list-unsubscribe-post", "list-id", "feedback-id"):
            if names.count(name) != max(1, [n for n, _ in old].count(name) if name in ADDED else 1):
                say(f"{name}: {names.count(name)} times")
    for name in names:
        if name == "bcc" or name.startswith("x-consentgate-"):
            say(f"{name} leaves")
    known = {name for name, _ in old}
    loose = OURS | set(SIGNATURES) | {name for name in ADDED if name not in known}
    if root_edited:
        loose |= {"content-type", "content-transfer-encoding", "mime-version", "content-md5"}
    if case.marketing and len(re.findall(r"@", " ".join(v for n, v in old if n in ("to", "cc")))) > 1:
        loose |= {"to", "cc"}
    kept = [one for one in old if one[0] not in loose and not one[0].startswith("x-consentgate-")]
    if kept != [one for one in new if one[0] not in loose]:
        say("header fields that nobody owns changed, or changed places")


def _fields(message: Message) -> list[tuple[str, str]]:
    return [(name.lower(), f"{name}:{value}") for name, value in _raw_fields(message)]


def _edited(case: Case, path: str, old: Message, new: Message, say: Callable[[str], object]) -> None:
    _encoded(path, old, new, say)
    was, now = written(old), written(new)
    if was is not None and now is None:
        say(f"{path}: its octets are no longer those of its charset")
    loose_was, loose_now = was, now
    if loose_was is None or loose_now is None:
        loose_was, loose_now = decoded(old).decode("latin-1"), decoded(new).decode("latin-1")
    page = _kind(old) == "text/html"
    _link(case, path, loose_now, say, page=page)
    _inserted(case, path, loose_was, loose_now, say, page=page)
    _declared(path, old, new, say)


def _encoded(path: str, old: Message, new: Message, say: Callable[[str], object]) -> None:
    """A transfer encoding that is what it says, or was not before."""
    was, now = ((_encoding(part), _body(part)) for part in (old, new))
    for name, fits in (("quoted-printable", _is_qp), ("base64", _is_base64), ("7bit", str.isascii)):
        if now[0] == name and not fits(now[1]) and (was[0] != name or fits(was[1])):
            say(f"{path}: this is no {name}")
    if now[0] not in (was[0], "quoted-printable"):
        say(f"{path}: {was[0]} became {now[0]}")


def _encoding(part: Message) -> str:
    named = re.sub(r"\([^)]*\)", "", str(part.get("content-transfer-encoding", ""))).partition(";")[0].strip().lower()
    return named or "7bit"


def _kind(part: Message) -> str:
    """The type of a part: what stands first in its Content-Type, where that is one."""
    found = re.match(r"\s*([\w!#$&^.+-]+/[\w!#$&^.+-]+)", str(part.get("content-type", "")))
    return found[1].lower() if found else part.get_content_type()


def _is_qp(body: str) -> bool:
    spoilt = re.search(r"=(?![0-9A-Fa-f]{2}|\r\n|\Z)|[^\t\r\n -~]|[ \t](?:\r\n|\Z)", body)
    return spoilt is None and max(map(len, body.split("\r\n"))) <= 76


def _is_base64(body: str) -> bool:
    lines = body.split("\r\n")
    text = "".join(lines)
    return len(text) % 4 == 0 and bool(re.fullmatch(r"[A-Za-z0-9+/]*={0,2}", text)) and max(map(len, lines)) <= 76


def _link(case: Case, path: str, now: str, say: Callable[[str], object], *, page: bool) -> None:
    if page:
        if not visible_links(now, case.link) and case.link not in visible_text(now):
            say(f"{path}: nobody sees the link in the page")
        return
    if not re.search(rf"(?:^|[\s<(\[:\"'=]){re.escape(case.link)}(?=$|[\s>)\].,;\"'])", now, re.MULTILINE):
        say(f"{path}: the link is not in the text")
    for line in now.split("\n"):
        if case.link in line and line.startswith(">"):
            say(f"{path}: the link is in a quotation")


def _inserted(case: Case, path: str, was: str, now: str, say: Callable[[str], object], *, page: bool) -> None:
    """The new text is the old one with one run put in, which holds the link once; links in places of links apart."""
    link = html.escape(case.link) if page else case.link
    own = sorted({form for text in case.replaced for form in _forms(text)}, key=len, reverse=True)
    if own:
        swap = re.compile("|".join(re.escape(form) for form in (link, *own)))
        was, now, link = swap.sub("\1", was), swap.sub("\1", now), "\1"
    was, now = _without_mark(was), _without_mark(now)
    start = _common(was, now)
    end = _common(was[start:][::-1], now[start:][::-1])
    if page and start + end < len(was):  # a page that moves to UTF-8 says so in its <meta>
        meta = re.compile(r"(<meta\b[^>]*?charset\s*=\s*[\"']?)([\w.:-]+)", re.IGNORECASE)
        was, now = meta.sub(r"\1", was), meta.sub(r"\1", now)
        start = _common(was, now)
        end = _common(was[start:][::-1], now[start:][::-1])
    if start + end < len(was):
        say(f"{path}: something of it is gone: {was[start : start + 60]!r}")
        return
    run = now[start : len(now) - end]
    if len(run) and run.count(link) != 1 and now.count(link) - was.count(link) != 1:
        say(f"{path}: what was put in has the link {run.count(link)} times")
    if not run and link not in now:
        say(f"{path}: nothing was put in")


def _forms(text: str) -> set[str]:
    """An address as a page may spell it."""
    return {text, html.escape(text), text.replace("&", "&#38;"), quote(text, safe="{}%"), quote(text, safe="")}


def _without_mark(text: str) -> str:
    return text.removeprefix("\ufeff")


def _common(one: str, other: str) -> int:
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[:middle] == other[:middle] else (low, middle - 1)
    return low


def _declared(path: str, old: Message, new: Message, say: Callable[[str], object]) -> None:
    """Of a part's header only charset and transfer encoding may change, and what those make stale goes."""
    loose = {"content-type", "content-transfer-encoding", *STALE}

    def rest(part: Message) -> list[tuple[str, str]]:
        return [(name, value) for name, value in _raw_fields(part) if name.lower() not in loose]

    if not path.isdigit() and rest(old) != rest(new):
        say(f"{path}: other fields of its header changed")
    if old.get_params() is not None and new.get_params() is not None:
        was, now = (
            [p for p in part.get_params() or () if p[0].lower().partition("*")[0] != "charset"] for part in (old, new)
        )
        if was != now:
            say(f"{path}: Content-Type says {now} where it said {was}")
    if len(new.get_all("content-transfer-encoding", [])) > max(1, len(old.get_all("content-transfer-encoding", []))):
        say(f"{path}: two transfer encodings")


def _signed(after: bytes, keys: Mapping[bytes, bytes], say: Callable[[str], object]) -> None:
    looked_up: list[bytes] = []

    def dns(name: bytes, timeout: int = 5) -> bytes | None:
        looked_up.append(name.rstrip(b"."))
        return keys.get(name.rstrip(b"."))

    try:
        good = dkim.DKIM(after).verify(dnsfunc=dns)
    except dkim.DKIMException as error:
        say(f"DKIM: {error}")
        return
    if not good:
        say("the DKIM signature does not verify")
    signature = re.sub(rb"\s", b"", after.partition(b"DKIM-Signature:")[2].partition(b"b=")[0])
    for name in (b"list-unsubscribe", b"list-unsubscribe-post", b"from", b"subject"):
        if name not in re.split(rb"[:;=]", signature):
            say(f"the DKIM signature does not cover {name.decode()}")


def main(arguments: Sequence[str]) -> int:
    """Judge one pair of files; 1 and a line per fault when something is wrong."""
    before, after, link = arguments
    verdict = judge(Case(before=Path(before).read_bytes(), after=Path(after).read_bytes(), link=link))
    _print(verdict.faults or ["good" if verdict.read else "the standard library cannot read this message"])
    return 1 if verdict.faults else 0


def _print(lines: Iterable[str]) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
