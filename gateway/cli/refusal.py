"""The exceptions that commands end with on purpose. Apart, so that starting a command loads nothing else."""


class Refused(Exception):
    """The command cannot do this; the text says what is wrong and what to do. Exit code 1."""

    exit_code = 1


class Misused(Refused):
    """The options given do not make a command. Exit code 2, as for an option that does not exist."""

    exit_code = 2
