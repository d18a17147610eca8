"""What settings about write-back must agree on: whom it calls may be called, and what it names is declared."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from gateway.settings.reader import Reader
from gateway.tools.reach import NotAllowed, place_of

Values = Mapping[str, Any]


def check_write_backs(reader: Reader, v: Values) -> None:
    """Run every rule over the values as read."""
    for name, controller in v["controllers"].items():
        key = f"controllers.{name}"
        for hook, webhook in controller["webhooks"].items():
            _webhook(reader, f"{key}.webhooks.{hook}", webhook, key, controller)
        for tool, value in controller["tools"].items():
            _tool(reader, f"{key}.tools.{tool}", value, key, controller)


def _webhook(reader: Reader, key: str, webhook: Values, above: str, c: Values) -> None:
    _url(reader, key, webhook["url"], above, c)
    for stream in webhook["streams"]:
        if stream not in c["streams"]:
            have = ", ".join(c["streams"])
            reader.problem(f"{key}.streams", f"there is no stream {stream!r}", f"Use one of: {have}")
    wanted = webhook["advertiser"]
    offered = {s["advertiser"]["id"] for s in c["streams"].values() if s["advertiser"]["id"]}
    if wanted and wanted not in offered:
        have = ", ".join(sorted(offered)) or "none"
        reader.problem(f"{key}.advertiser", f"no stream carries offers of {wanted!r}", f"Advertisers here: {have}")
    if wanted and webhook["streams"]:
        reader.problem(f"{key}.streams", "stands beside advertiser", "Keep one: an advertiser's streams are known")


def _tool(reader: Reader, key: str, tool: Values, above: str, c: Values) -> None:
    _url(reader, key, tool["url"], above, c)
    for purpose, ids in tool["lists"].items():
        if purpose not in c["purposes"]:
            have = ", ".join(c["purposes"]) or "none"
            reader.problem(f"{key}.lists.{purpose}", f"there is no purpose {purpose!r}", f"Use one of: {have}")
        if tool["kind"] == "mailchimp" and ids == ("*",):
            remedy = "Name the audiences: their ids are in Mailchimp under Audience settings"
            reader.problem(f"{key}.lists.{purpose}", "is every audience", remedy)
        if tool["kind"] == "listmonk" and any(not one.isdigit() for one in ids if one != "*"):
            reader.problem(f"{key}.lists.{purpose}", "has ids that are no numbers", "Use the numbers listmonk shows")
    if tool["kind"] != "mailchimp" and not tool["username"] and f"{key}.username" not in reader.failed:
        reader.problem(f"{key}.username", "is missing", "Name a user that may only use the API", near=f"{key}.kind")
    path = urlsplit(tool["url"] or "").path
    if tool["kind"] == "mailchimp" and tool["url"] and path.rstrip("/") != "/3.0":
        reader.problem(f"{key}.url", "is not the address of the API", 'Write "https://us1.api.mailchimp.com/3.0"')


def _url(reader: Reader, key: str, url: str | None, above: str, c: Values) -> None:
    if not url or f"{key}.url" in reader.failed or f"{above}.write_back_hosts" in reader.failed:
        return
    try:
        place_of(url, c["write_back_hosts"])
    except NotAllowed as why:
        if str(why) == "not https":
            remedy = f'Use https; on this machine alone list "http://127.0.0.1:PORT" in {above}.write_back_hosts'
        else:
            remedy = f"Add its host to {above}.write_back_hosts"
        reader.problem(f"{key}.url", f"may not be called: {why}", remedy)
