"""listmonk is told through its API: a subscriber is blocklisted, taken off lists, or deleted.

Nobody is looked for by anything but the whole address, and what comes back is held against it again: the look-up is an
SQL expression, which listmonk runs as it stands. From its version 5 on that takes a permission of its own
(`subscribers:sql_query`); a user without it is answered 403, and then the plain search finds them.

Source: listmonk's API documentation (subscribers), and its permissions.
"""

from collections.abc import Generator, Sequence
from typing import Any
from urllib.parse import urlencode

from gateway.tools.dialogue import JSON_TYPE, Answer, Dialogue, Request, Verdict, as_json, basic, judge, judge_api

_MOST = 50
"""Subscribers that a search may bring; a whole address has one."""


def stop(
    base: str, username: str, password: str, address: str, *, lists: Sequence[str] | None, delete: bool = False
) -> Dialogue:
    """Take somebody off the lists named; None: off everything, by the blocklist. `delete`: out of the tool."""
    login = basic(username, password)
    found = yield from _find(base, login, address)
    if not isinstance(found, int):
        return found
    if delete:
        request = Request(method="DELETE", url=f"{base}/api/subscribers/{found}", headers=(login,))
    elif lists is None:
        request = Request(
            method="PUT", url=f"{base}/api/subscribers/{found}/blocklist", headers=(login, JSON_TYPE), body=b"{}"
        )
    else:
        body = as_json({"ids": [found], "action": "unsubscribe", "target_list_ids": [int(one) for one in lists]})
        request = Request(
            method="PUT", url=f"{base}/api/subscribers/lists", headers=(login, JSON_TYPE), body=body
        )  # fmt: skip
    answer: Answer = yield request
    return judge_api(answer, done="deleted" if delete else "blocklisted" if lists is None else "unsubscribed")


def _find(base: str, login: tuple[str, str], address: str) -> Generator[Request, Answer, int | Verdict]:
    """The subscriber's number; else what that means."""
    literal = address.replace("'", "''")
    expression = {"query": f"subscribers.email = '{literal}'", "page": 1, "per_page": _MOST}
    answer: Answer = yield Request(
        method="GET", url=f"{base}/api/subscribers?{urlencode(expression)}", headers=(login,)
    )  # fmt: skip
    if answer.status == 403:
        plain = {"search": address, "page": 1, "per_page": _MOST}
        answer = yield Request(method="GET", url=f"{base}/api/subscribers?{urlencode(plain)}", headers=(login,))
    if not answer.good:
        return judge(answer)
    try:
        results = answer.json()["data"]["results"]
        for one in results:
            if str(one["email"]).casefold() == address.casefold():
                return int(one["id"])
    except (TypeError, KeyError, ValueError):
        return Verdict(outcome="later", note="not an answer of listmonk")
    if len(results) >= _MOST:
        return Verdict(outcome="later", note="too many found: give the user subscribers:sql_query")
    return Verdict(outcome="done", note="not there")


def probe(base: str, username: str, password: str) -> Dialogue:
    """Whether the login may read subscribers. Changes nothing."""
    query: dict[str, Any] = {"page": 1, "per_page": 1}
    answer: Answer = yield Request(
        method="GET", url=f"{base}/api/subscribers?{urlencode(query)}", headers=(basic(username, password),)
    )
    return judge_api(answer, done="may read subscribers")
