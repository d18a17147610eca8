"""How the text of a settings file becomes the values of `config.py`; nothing is guessed on the way.

`table.py` is the one list of settings; `kinds.py`, `file_kinds.py` and `rule_kinds.py` say what a value may look like,
`reader.py` reads a document against the table, `checks.py` and `packs.py` look whether the values agree with each
other, and `load.py` does all of it. `readiness.py` says what may be loaded and still not be served.
"""
