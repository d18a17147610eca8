"""The newsletter tool's own one-click address, as its message gave it (RFC 8058).

Called as a mailbox provider would, so that the tool learns of the opt-out in the way it made for that.
"""

from gateway.tools.dialogue import Answer, Dialogue, Request, Verdict, judge

BODY = b"List-Unsubscribe=One-Click"


def unsubscribe(url: str) -> Dialogue:
    """One POST. A tool that has forgotten the link (410) has nothing to stop."""
    answer: Answer = yield Request(
        method="POST", url=url, headers=(("Content-Type", "application/x-www-form-urlencoded"),), body=BODY
    )
    if answer.status == 410:
        return Verdict(outcome="done", note="410 gone")
    return judge(answer)
