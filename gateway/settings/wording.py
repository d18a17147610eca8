"""The installation's own wording of advertising: read and checked with the settings, like the bounce rules."""

from collections.abc import Mapping
from typing import Any

from gateway.mail.promotional import PromotionalError, PromotionalRules
from gateway.promotional_rules import read_promotional_rules
from gateway.settings.reader import Problem, Reader


def promotional_rules_of(reader: Reader, v: Mapping[str, Any]) -> PromotionalRules:
    """The rules; where those of the installation cannot be used, that is noted and those that ship are given."""
    if v["promotional_rules"] is not None:
        try:
            return read_promotional_rules(v["promotional_rules"])
        except PromotionalError as wrong:
            reader.problems.append(
                Problem(file=wrong.file, key=wrong.field, line=None, what=wrong.what, remedy=wrong.remedy)
            )
    return read_promotional_rules()
