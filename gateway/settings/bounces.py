"""The installation's own bounce rules: read and checked with the settings, a mistake is a problem like any other."""

from collections.abc import Mapping
from typing import Any

from gateway.bounce_rules import read_bounce_rules
from gateway.mail.judgement import BounceRules, RulesError
from gateway.settings.reader import Problem, Reader


def bounce_rules_of(reader: Reader, v: Mapping[str, Any]) -> BounceRules:
    """The rules; where those of the installation cannot be used, that is noted and those that ship are given."""
    if v["bounce_rules"] is not None:
        try:
            return read_bounce_rules(v["bounce_rules"])
        except RulesError as wrong:
            reader.problems.append(
                Problem(file=wrong.file, key=wrong.field, line=wrong.line, what=wrong.what, remedy=wrong.remedy)
            )
    return read_bounce_rules()
