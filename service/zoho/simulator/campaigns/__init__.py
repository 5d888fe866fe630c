"""Zoho Campaigns v1.1 as the simulator serves it, envelopes that lie included."""
