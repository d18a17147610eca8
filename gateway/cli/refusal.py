"""The one exception that commands end with on purpose. Apart, so that starting a command loads nothing else."""


class Refused(Exception):
    """The command cannot do this; the text says what is wrong and what to do. Exit code 1."""
