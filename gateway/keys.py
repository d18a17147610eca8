"""The keys of an installation, from their files: what derives everything at rest, what opens links, what signs."""

from gateway import log
from gateway.config import Config
from gateway.mail.dkim import Signer, load_signer
from gateway.settings.file_kinds import read_installation_keys
from suppression.link_token import TokenKeys
from suppression.vault import KeyRing


def key_ring(config: Config) -> KeyRing:
    """The installation keys, from the file that `config` has checked."""
    return KeyRing(read_installation_keys(config.installation_key))


def token_keys(ring: KeyRing) -> TokenKeys:
    """The keys of links."""
    return TokenKeys(ring.derived("link", length=64))


def signers(config: Config) -> dict[str, tuple[Signer, ...]]:
    """Signing keys by domain. A key that cannot be read is left out: marketing of its domain is put off (stage F)."""
    found: dict[str, tuple[Signer, ...]] = {}
    for controller in config.controllers.values():
        for key in controller.dkim:
            try:
                signer = load_signer(key.domain, key.selector, key.key.read_bytes())
            except (OSError, ValueError) as broken:
                log.bug(where=f"dkim key of {key.domain}", error=broken)
            else:
                found[key.domain] = (*found.get(key.domain, ()), signer)
    return found
