"""On whose behalf a message goes: the controller, and whether it says who it is.

Source: Directive 2002/58/EC art. 13(4); RULES 2.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from suppression.fields import FLAG, TEXT, Shape, fault
from suppression.frozen import quick_init

_BOOL = {bool}

_SENDER: Shape = {
    "controller_id": TEXT,
    "principal_authorised": FLAG,
    "legal_name_present": FLAG,
    "postal_address_present": FLAG,
    "opt_out_contact_present": FLAG,
    "from_domain_verified": FLAG,
    "is_charity": FLAG,
    "directed_at_children": FLAG,
}
_SENDER_FIELDS = itemgetter(*_SENDER)


@quick_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """The controller on whose behalf the message goes, and what is known of it."""

    controller_id: str
    principal_authorised: bool
    legal_name_present: bool
    postal_address_present: bool
    opt_out_contact_present: bool
    from_domain_verified: bool
    is_charity: bool
    directed_at_children: bool

    @classmethod
    def from_dict(cls, data: Any, path: str = "sender") -> Sender:
        """Read the schema's object. Raises FactsError with the field's path."""
        try:
            values = _SENDER_FIELDS(data)
            controller_id, authorised, name, postal, contact, verified, charity, children = values
            if len(data) == 8 and type(controller_id) is str and controller_id and {*map(type, values[1:])} == _BOOL:
                return cls(
                    controller_id=controller_id,
                    principal_authorised=authorised,
                    legal_name_present=name,
                    postal_address_present=postal,
                    opt_out_contact_present=contact,
                    from_domain_verified=verified,
                    is_charity=charity,
                    directed_at_children=children,
                )
        except (ValueError, TypeError, LookupError):
            pass
        raise fault(data, _SENDER, path)

    def to_dict(self) -> dict[str, Any]:
        """Write the schema's object."""
        return {name: getattr(self, name) for name in _SENDER}
