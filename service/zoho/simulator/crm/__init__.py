"""Zoho CRM v8 as the simulator serves it: records, COQL and metadata."""
