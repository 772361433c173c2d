"""Presence is given: who has written in a chat shows it to those who are in it, and anybody may show it to nobody"""

import sqlalchemy as sa
from alembic import op

revision = '0016'
down_revision = '0015'


def upgrade() -> None:
    op.add_column('users', sa.Column('presence', sa.String(8), nullable=True))
    op.add_column('members', sa.Column('wrote', sa.Boolean(), nullable=False, server_default=sa.false()))
    op.execute(
        "UPDATE members SET wrote = true WHERE role = 'owner'"
        " OR (chat_pk, user_pk) IN (SELECT DISTINCT chat_pk, sender_pk FROM messages)"
    )
