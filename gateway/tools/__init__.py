"""CORE: what other people's systems are told about opt-outs, as values: requests out, verdicts in. No I/O.

`reach.py` says what may be called at all, `dialogue.py` what a call and its answer are; the other modules each know one
kind of system.
"""
