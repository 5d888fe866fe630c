"""Zoho as the reconciler sees it: OAuth, CRM and Campaigns clients, and a simulator of all three.

The clients implement the reconciler's port and are the only users of httpx. They code against the
published facts of both products, never against the simulator's internals.
"""
