"""The keys of an installation, from their files: what derives everything at rest, what opens links, what signs."""

from gateway import log
from gateway.config import Config
from gateway.mail.dkim import Signer, load_signer
from gateway.mail.return_id import ReturnKeys
from gateway.settings.file_kinds import read_installation_keys
from suppression.link_token import TokenKeys
from suppression.vault import KeyRing


def key_ring(config: Config) -> KeyRing:
    """The installation keys, from the file that `config` has checked."""
    return KeyRing(read_installation_keys(config.installation_key))


def token_keys(ring: KeyRing) -> TokenKeys:
    """The keys of links."""
    return TokenKeys(ring.derived("link", length=64))


def return_keys(ring: KeyRing, controller_id: str) -> ReturnKeys:
    """The keys of a controller's return path."""
    return ReturnKeys(tuple(ring.derived("return path", controller_id).values()))


def signers(config: Config) -> dict[tuple[str, str], tuple[Signer, ...]]:
    """The keys that sign, by controller and domain; RSA first, so that its signature is the topmost.

    A verifier that knows no Ed25519 (RFC 8463) may look at one signature only. A key that cannot be read is left out:
    where none is left, marketing of that domain is put off (stage F).
    """
    found: dict[tuple[str, str], list[Signer]] = {}
    for controller in config.controllers.values():
        for key in controller.dkim:
            if key.state != "signing":
                continue
            try:
                signer = load_signer(key.domain, key.selector, key.key.read_bytes())
            except (OSError, ValueError) as broken:
                log.bug(where=f"dkim key of {key.domain}", error=broken)
            else:
                found.setdefault((controller.id, key.domain), []).append(signer)
    return {whose: tuple(sorted(keys, key=_rsa_first)) for whose, keys in found.items()}


def _rsa_first(signer: Signer) -> bool:
    return signer.algorithm != "rsa-sha256"
