"""Whom the settings name to be told of what people say: the targets of write-back jobs, and the hosts that are called.

The store writes a job for each target; write_back.py says it. Both go by the names given here.
"""

from collections.abc import Iterator, Mapping, Sequence

from gateway.config import Config, Controller, Stream
from gateway.mail.plan import Plan
from gateway.store.telling import EVERY, STOPS, Event, Target, ToolLink
from gateway.tools.reach import NotAllowed, Peer, Place, place_of

_OF_ADVERTISERS: frozenset[Event] = frozenset(("opt_out.recorded", "opt_out.lifted", "person.erased"))


def targets(config: Config) -> Mapping[str, Sequence[Target]]:
    """The targets of each controller."""
    return {name: tuple(_targets(controller)) for name, controller in config.controllers.items()}


def _targets(controller: Controller) -> Iterator[Target]:
    for hook in controller.webhooks.values():
        yield Target(
            name=f"webhook/{hook.name}", host=_place(hook.url, controller).name,
            events=_OF_ADVERTISERS if hook.advertiser else EVERY, streams=frozenset(hook.streams) or None,
            terse=hook.advertiser is not None,
        )  # fmt: skip
    for tool in controller.tools.values():
        yield Target(
            name=f"{tool.kind}/{tool.name}", host=_place(tool.url, controller).name, events=STOPS,
            purposes=frozenset(tool.lists),
        )  # fmt: skip


def companies(controller: Controller) -> Mapping[str, str]:
    """Who runs the hosts that are told, in words, by the name of a target's host; hosts nobody was named for lack."""
    legal = {one.advertiser.id: one.advertiser.legal_name for one in controller.streams.values() if one.advertiser}
    named = [(hook.url, hook.company or legal.get(hook.advertiser or "", "")) for hook in controller.webhooks.values()]
    named += [(tool.url, tool.company) for tool in controller.tools.values()]
    return {_place(url, controller).name: company for url, company in named if company}


def _place(url: str, controller: Controller) -> Place:
    return place_of(url, controller.write_back_hosts)  # the settings were checked for this


def peers(controller: Controller, stream: Stream | None = None) -> tuple[Peer, ...]:
    """The hosts that may be called; for the one-click addresses of a stream's mail also those it lists itself."""
    return (*controller.write_back_hosts, *(stream.write_back_hosts if stream is not None else ()))


def link_of(plan: Plan | None, purpose: str | None, controller: Controller, stream: Stream) -> ToolLink | None:
    """The one-click address that a message for one person brings, where it may be called."""
    url = plan.tool_one_click if plan is not None else None
    listed = peers(controller, stream)
    if url is None or not listed:
        return None
    try:
        place = place_of(url, listed)
    except NotAllowed:
        return None
    return ToolLink(purpose=purpose or "", host=place.name, url=url)


def untold(config: Config) -> Iterator[tuple[str, str, str]]:
    """Advertisers whose offers a stream carries, and who are told of no opt-outs: controller, stream, advertiser."""
    for controller in config.controllers.values():
        told = {hook.advertiser for hook in controller.webhooks.values()}
        for stream in controller.streams.values():
            if stream.advertiser is not None and stream.advertiser.id not in told:
                yield controller.id, stream.name, stream.advertiser.id
