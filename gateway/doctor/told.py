"""Whether those who are to be told of opt-outs can be: who is left out, what was given up, and who answers.

Nobody is told anything here: endpoints are asked without a signature, tools for what their login may read.
"""

from collections.abc import Iterator
from importlib.metadata import version

from gateway.addressees import untold
from gateway.config import Config
from gateway.doctor.finding import Finding
from gateway.outbound.http_client import HttpClient, context_for
from gateway.store.contract import Store
from gateway.write_back import probe


def left_out(config: Config) -> Iterator[Finding]:
    """Advertisers who hear of no opt-out (RULES.md 5.2.10)."""
    for controller, stream, advertiser in untold(config):
        text = (
            f"its offers are those of {advertiser}, who is told of no opt-outs: add a webhook with "
            f'advertiser = "{advertiser}", or tell them in another way'
        )
        yield Finding(check=f"stream {controller}/{stream}", good=False, text=text)


async def given_up(store: Store, config: Config) -> list[Finding]:
    """Targets for whom jobs were given up."""
    return [
        Finding(
            check=f"write-back {name}/{row.target}", good=False,
            text=f"{row.jobs} job(s) were given up, the last with {row.said!r}: see `consentgate writeback list`",
        )
        for name in config.controllers
        for row in await store.write_back_counts(name)
        if row.state == "failed"
    ]  # fmt: skip


async def reached(config: Config) -> list[Finding]:
    """Call everybody who is to be told, without telling anything."""
    client = HttpClient(context_for(config.write_back_authorities), agent=f"consentgate/{version('consentgate')}")
    try:
        return [
            Finding(check=f"write-back {controller.id}/{target}", good=good, text=text)
            for controller in config.controllers.values()
            for target, good, text in await probe(client, controller)
        ]
    finally:
        client.close()
