"""The append-only ledger: what is signed, how it is proven, and who writes it.

Start at `entry.py` (the signed line), then `merkle.py` and `proof.py` (the tree and what leads to it).
`bundle.py` and `verify.py` are what an auditor takes home. Those, with `note.py` and `archive.py`, are
pure: they run without a database. Only `store.py` and `sequencer.py` write.
"""
