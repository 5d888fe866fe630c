"""Make CRM and Campaigns agree with the ledger: observe, diff, guard, apply, read back."""
