"""Proof of marketing consent, and two vendor systems kept honest against it.

Start reading at `consent/fold.py` (what a history adds up to), then `ledger/entry.py` (what is
signed), `intake.py` (the one way in), `reconciler/` (how Zoho is made to agree) and `app/`
(how the parts are put together).
"""

__version__ = "0.1.0"
