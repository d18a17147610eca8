"""The life of a signing key: made and waiting, signing, retired, gone; and the files with what DNS has to publish.

A key signs only once DNS has its record. The key it takes over from stays published until the mail that bears its
signature has arrived, or that mail would fail with whoever checks it late.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from gateway.config import Config, Controller, DkimKey
from gateway.mail.dkim import Algorithm, Signer, bind_txt, load_signer, public_record

IN_FLIGHT = timedelta(days=7)
"""How long a signature is looked at after it left: five days in queues on the way (RFC 5321 4.5.4.1), and a few for
readers that check when the mail is opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A key of the settings with what its file holds. `signer` None: it cannot be used, `broken` says why."""

    controller: Controller
    key: DkimKey
    signer: Signer | None
    broken: str = ""

    @property
    def record(self) -> str | None:
        """What DNS has to publish at the key's name."""
        return public_record(self.signer) if self.signer is not None else None

    @property
    def zone_line(self) -> str | None:
        """The same as one record of a BIND zone."""
        record = self.record
        return bind_txt(self.key.domain, self.key.selector, record) if record is not None else None

    @property
    def algorithm(self) -> Algorithm | None:
        return self.signer.algorithm if self.signer is not None else None

    @property
    def removable_at(self) -> datetime | None:
        """From when on the record of a retired key may go."""
        if self.key.retired_at is None:
            return None
        tried = max((stream.retry_for for stream in self.controller.streams.values()), default=timedelta())
        return self.key.retired_at + tried + IN_FLIGHT


def signing_keys(config: Config) -> Iterator[SigningKey]:
    """Every key of the settings, whatever its state."""
    for controller in config.controllers.values():
        for key in controller.dkim:
            try:
                signer = load_signer(key.domain, key.selector, key.key.read_bytes())
            except (OSError, ValueError) as error:
                broken = str(error.strerror if isinstance(error, OSError) else error)
                yield SigningKey(controller=controller, key=key, signer=None, broken=broken)
            else:
                yield SigningKey(controller=controller, key=key, signer=signer)


def record_files(config: Config, domain: str) -> dict[Path, str]:
    """The files for a domain's zone: DOMAIN.txt is the key that signs, RSA before Ed25519, DOMAIN.SELECTOR.txt each
    further one. One record in each, without comments."""
    known = [one for one in signing_keys(config) if one.key.domain == domain]
    known.sort(key=lambda one: (one.key.state != "signing", one.algorithm != "rsa-sha256"))
    files: dict[Path, str] = {}
    for one in known:
        if (line := one.zone_line) is not None:
            name = f"{domain}.{one.key.selector}.txt" if files else f"{domain}.txt"
            files[config.dir / "dkim" / name] = line
    return files
