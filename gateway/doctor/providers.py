"""Whether the providers that take our mail tell what becomes of it."""

from collections.abc import Iterator, Mapping, Sequence

from gateway.config import Config, Controller
from gateway.doctor.finding import Finding
from gateway.mail.provider import provider_of
from gateway.store.hooked import Hook

_TELL = {"ses": "Amazon SES", "sendgrid": "SendGrid", "mailgun": "Mailgun", "postmark": "Postmark"}


def hooks(config: Config, found: Mapping[str, Sequence[Hook]]) -> list[Finding]:
    """When each hook last told something; routes whose provider has none. `found`: by controller."""
    return [
        one for controller in config.controllers.values()
        for one in (*_told(found[controller.id]), *_untold(config, controller, found[controller.id]))
    ]  # fmt: skip


def _told(found: Sequence[Hook]) -> Iterator[Finding]:
    for hook in found:
        if hook.revoked_at is None:
            last = "nothing told yet" if hook.last_at is None else f"last told something {hook.last_at:%Y-%m-%d %H:%M}"
            yield Finding(check=f"hook {hook.controller_id}/{hook.provider} {hook.hook_id.hex()}", good=True, text=last)


def _untold(config: Config, controller: Controller, found: Sequence[Hook]) -> Iterator[Finding]:
    have = {hook.provider for hook in found if hook.revoked_at is None}
    routes = {stream.route for stream in controller.streams.values()}
    used = {one.name for route in routes for host in config.routes[route].hosts if (one := provider_of(host.host))}
    for provider, name in _TELL.items():
        if name in used and provider not in have:
            text = f"{name} takes mail and tells nothing of it: consentgate hook add --provider {provider}"
            yield Finding(check=f"hook {controller.id}/{provider}", good=False, text=text)
