"""Withdrawals by deadline: a backlog is worked off without sorting all of it at each turn."""

from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    op.create_index("ix_task_due", "task", ["state", "due_at", "id"])
