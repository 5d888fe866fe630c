"""Which fields a notification channel was asked to watch; a channel of before is asked for anew once."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.add_column("channel", sa.Column("watched_sha256", sa.LargeBinary()))
