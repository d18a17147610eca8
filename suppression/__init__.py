"""The law as values: may this person be sent this message, and on what legal ground? No socket, disk or clock in here.

The way of a question through the room:

    facts.py            what is known about one sender, message and recipient at one instant
      consent.py          a consent record        restriction.py        a restriction, an erasure request
      sale.py             a customer relation     suppression_list.py   an opt-out and whom it covers
      sender.py           whom the message is from
      fields.py           how all of these are read from JSON, and what is said about a field that is wrong
      frozen.py           how they are made quickly
    pack.py             one version of a pack as a value, read from packs/*.toml
    jurisdiction.py     which version is in force when; country -> packs
      strictness.py       whether one version is laxer than another
      terms.py            what a controller changed about a pack
    similarity.py       category tree and rulings -> pairs of similar categories
    rules.py            stages A to C, row by row
    basis.py            stage D, the numbered checks of a consent, a sale, an address
    ground.py           stage D, run: D1 to D8 under one pack
    duties.py           stages E to G
    decision.py         facts + packs -> Decision
    next_change.py      when time alone could change it
    months.py           calendar months and completed years
    explain.py          reason code -> family, who can act

LAW.md has each rule beside its law article and the worked examples that show it. To add a rule: a row in its table, a
line in LAW.md, a vector, a change line.

Beside the decision: address.py (when two addresses are the same person), evidence.py (what proves a consent),
proof_meter.py (the same over a whole list), provenance.py (who passed a list on, and who checked it), standing.py
(what the ledger amounts to), ledger.py (the entries), history.py (what a person's entries amount to, up to an
instant), chain.py (what makes them tamper-evident), chain_check.py (whether they were tampered with), vault.py (what is
encrypted under which key), link_token.py (the tokens in links).
"""
