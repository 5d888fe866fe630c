"""Make CRM and Campaigns agree with the ledger: observe, diff, guard, apply, read back.

The ledger is right about what a person said. A product that permits more is corrected at once; a
product that permits less has seen something, which is recorded before anything else.
`run.reconcile` is a whole pass, `enforce.carry_out` the short way of one withdrawal.
"""
