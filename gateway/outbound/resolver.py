"""Questions to DNS, for what operators should know: never for a decision about mail.

It says apart "there is none" (an empty answer) and "nobody answered" (Unanswered).
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from gateway.config import Address

DNS_SECONDS = 5.0
"""How long one question may take, with all its tries."""


class Unanswered(Exception):
    """No name server gave an answer in time; the text says what happened."""


class Resolver:
    """Asks the name servers given, or those of the system where none is."""

    def __init__(self, servers: Sequence[Address] = ()) -> None:
        self._servers = tuple(servers)

    async def texts(self, name: str) -> tuple[str, ...]:
        """The TXT records of a name, the strings of each put together (RFC 7208 3.3). None there: empty."""
        return tuple(b"".join(record.strings).decode("utf-8", "replace") for record in await self._ask(name, "TXT"))

    async def mail_hosts(self, name: str) -> tuple[str, ...]:
        """The hosts of the MX records of a name, best first; "" stands for a null MX (RFC 7505)."""
        records = sorted(await self._ask(name, "MX"), key=lambda record: int(record.preference))
        return tuple(str(record.exchange).rstrip(".") for record in records)

    async def _ask(self, name: str, kind: str) -> list[Any]:  # dnspython's records have no type of their own
        import dns.asyncresolver
        import dns.exception
        import dns.nameserver
        import dns.resolver

        try:
            asking = dns.asyncresolver.Resolver(configure=not self._servers)
            if self._servers:
                asking.nameservers = [dns.nameserver.Do53Nameserver(host, port) for host, port in self._servers]
            asking.use_edns(0, 0, 1232)  # an RSA key in one UDP answer
            async with asyncio.timeout(DNS_SECONDS):
                return list(await asking.resolve(name, kind, search=False))
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        except TimeoutError:
            raise Unanswered(f"no answer in {DNS_SECONDS:.0f} s") from None
        except (dns.exception.DNSException, OSError) as failed:
            raise Unanswered(type(failed).__name__) from None
