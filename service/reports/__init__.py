"""Answers to people: one person's history, the file an auditor takes home, the nightly mail to legal.

Each report is data first (`history.py`, `evidence.py`, `drift.py`); `render.py` turns the nightly one
into a letter. Nothing here writes to the ledger or calls Zoho.
"""
