"""Check a whole log again from its published files: every entry, every hash, every signature.

Pure: files come through a `Source` that the caller brings, work for other cores goes through a `Submit`.
Memory does not grow with the log; what must be sorted goes to a temporary file. Trust flows from the
log's key to the checkpoint, from its root to every entry, from entry 0 and `key.rotated` entries to the
keys that sign entries. Nothing else in the folder is believed.

Start with `judge.judge`.
"""
