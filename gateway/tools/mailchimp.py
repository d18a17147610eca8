"""Mailchimp is told through its API: a member of an audience becomes unsubscribed, or is deleted for good.

Members are named by the MD5 of their address. They are changed, never put: that would add whoever is not there.

Source: the Mailchimp Marketing API reference (list members).
"""

import hashlib
from collections.abc import Sequence
from typing import Final

from gateway.tools.dialogue import JSON_TYPE, Answer, Dialogue, Request, Verdict, as_json, basic, judge_api

_ANYBODY: Final = "consentgate"
"""Mailchimp reads the API key alone; the user's name may be anything."""


def stop(base: str, key: str, address: str, *, audiences: Sequence[str], delete: bool = False) -> Dialogue:
    """Unsubscribe somebody from each of these audiences, or delete them there for good."""
    login = basic(_ANYBODY, key)
    member = hashlib.md5(address.lower().encode(), usedforsecurity=False).hexdigest()
    verdict = Verdict(outcome="done", note="not there")
    for audience in audiences:
        url = f"{base}/lists/{audience}/members/{member}"
        if delete:
            request = Request(method="POST", url=f"{url}/actions/delete-permanent", headers=(login,))
        else:
            body = as_json({"status": "unsubscribed"})
            request = Request(method="PATCH", url=url, headers=(login, JSON_TYPE), body=body)
        answer: Answer = yield request
        if answer.status == 404:
            continue
        verdict = judge_api(answer, done="deleted" if delete else "unsubscribed")
        if verdict.outcome != "done":
            return verdict
    return verdict


def probe(base: str, key: str) -> Dialogue:
    """Whether the key is good. Changes nothing."""
    answer: Answer = yield Request(method="GET", url=f"{base}/ping", headers=(basic(_ANYBODY, key),))
    return judge_api(answer, done="the key is good")
