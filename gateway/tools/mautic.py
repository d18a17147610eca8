"""Mautic is told through its API: a contact is set to do-not-contact, taken out of segments, or deleted.

Contacts are looked for by the address alone, in both ways that Mautic knows; several may have the same one, and each is
told. The API and its basic authentication have to be switched on in Mautic.

Source: Mautic's REST API documentation (contacts, segments).
"""

from collections.abc import Generator, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from gateway.tools.dialogue import Answer, Dialogue, Request, Verdict, basic, judge, judge_api

_UNSUBSCRIBED: Final = 1
"""Mautic's reason: the contact asked for it."""
_FORM: Final = ("Content-Type", "application/x-www-form-urlencoded")
_MOST: Final = 50


def stop(
    base: str, username: str, password: str, address: str, *, segments: Sequence[str] | None, delete: bool = False
) -> Dialogue:
    """Take somebody out of the segments named; None: do not contact by mail at all. `delete`: out of Mautic."""
    login = basic(username, password)
    found = yield from _find(base, login, address)
    if isinstance(found, Verdict):
        return found
    verdict = Verdict(outcome="done", note="not there")
    for contact in found:
        for request in _requests(base, login, contact, segments, delete=delete):
            answer: Answer = yield request
            if answer.status == 404:
                continue
            verdict = judge_api(
                answer, done="deleted" if delete else "do not contact" if segments is None else "removed"
            )
            if verdict.outcome != "done":
                return verdict
    return verdict


def _requests(
    base: str, login: tuple[str, str], contact: int, segments: Sequence[str] | None, *, delete: bool
) -> list[Request]:
    if delete:
        return [Request(method="DELETE", url=f"{base}/api/contacts/{contact}/delete", headers=(login,))]
    if segments is None:
        body = urlencode({"reason": _UNSUBSCRIBED, "comments": "Opt-out"}).encode()
        url = f"{base}/api/contacts/{contact}/dnc/email/add"
        return [Request(method="POST", url=url, headers=(login, _FORM), body=body)]
    return [
        Request(method="POST", url=f"{base}/api/segments/{segment}/contact/{contact}/remove", headers=(login,))
        for segment in segments
    ]


def _find(base: str, login: tuple[str, str], address: str) -> Generator[Request, Answer, list[int] | Verdict]:
    asked = {
        "search": f"email:{address}", "where[0][col]": "email", "where[0][expr]": "eq", "where[0][val]": address,
        "limit": _MOST,
    }  # fmt: skip
    answer: Answer = yield Request(method="GET", url=f"{base}/api/contacts?{urlencode(asked)}", headers=(login,))
    if not answer.good:
        return judge(answer)
    try:
        contacts: Any = answer.json()["contacts"]
        each = list(contacts.values() if isinstance(contacts, dict) else contacts)
        return [int(one["id"]) for one in each if _email(one).casefold() == address.casefold()]
    except (TypeError, KeyError, ValueError, AttributeError):
        return Verdict(outcome="later", note="not an answer of Mautic")


def _email(contact: Any) -> str:
    """A contact's address, from the list of all fields or from the group it is in."""
    fields = contact["fields"]
    if "all" in fields:
        return str(fields["all"].get("email") or "")
    return str(fields["core"]["email"].get("value") or "")


def probe(base: str, username: str, password: str) -> Dialogue:
    """Whether the login may read contacts. Changes nothing."""
    asked = urlencode({"limit": 1, "minimal": 1})
    answer: Answer = yield Request(
        method="GET", url=f"{base}/api/contacts?{asked}", headers=(basic(username, password),)
    )  # fmt: skip
    return judge_api(answer, done="may read contacts")
