"""What every page is given: settings, texts, keys, the clock and the stories it may call."""

import hashlib
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from gateway.be_told import BeTold
from gateway.config import Config
from gateway.confirm import Confirmations
from gateway.notice import Notices
from gateway.rehearse import Rehearsals
from gateway.sign_up import SignUps
from gateway.store.contract import Store
from gateway.weigh import Scales
from gateway.words import Words
from suppression.link_token import LinkToken, TokenKeys
from suppression.vault import KeyRing

# No wait of a page is longer than this, in seconds; what takes longer is answered 503.
PATIENCE: Final = 20.0


class LinkContext(Protocol):
    """What may be shown to whoever holds a link; `suppressed` is the widest scope that stands, None if none."""

    @property
    def controller(self) -> str: ...
    @property
    def purpose(self) -> str | None: ...
    @property
    def basis(self) -> str | None: ...
    @property
    def masked_address(self) -> str | None: ...
    @property
    def since(self) -> datetime | None: ...
    @property
    def wording_version(self) -> str | None: ...
    @property
    def obtained_from(self) -> str | None: ...
    @property
    def language(self) -> str | None: ...
    @property
    def suppressed(self) -> str | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One per process. `secret` is 32 bytes that all processes of an installation share; `clock` gives aware UTC.

    `link_context` gives None where the link's controller is unknown here; `captured_mail` takes controller, message id
    and copy number and gives the bytes as they would have left. `metrics`: the counters of all workers, as /metrics has
    them. `full`: what keeps new mail out now, "" where there is room.
    """

    config: Config
    store: Store
    words: Words
    scales: Scales
    ring: KeyRing
    tokens: TokenKeys
    clock: Callable[[], datetime]
    secret: bytes
    link_context: Callable[[LinkToken], Awaitable[LinkContext | None]]
    sign_ups: SignUps
    confirmations: Confirmations
    captured_mail: Callable[[str, str, int], Awaitable[bytes | None]]
    rehearsals: Rehearsals
    notices: Notices
    be_told: BeTold
    metrics: Callable[[], bytes]
    full: Callable[[], str]

    def key(self, use: str) -> bytes:
        """A key of its own for each use, so that no value made for one is good for another."""
        return hmac.digest(self.secret, use.encode(), hashlib.sha256)
