"""How many messages of a chat, and of a sender in it, there are up to each message"""

import sqlalchemy as sa
from alembic import op

revision = '0022'
down_revision = '0021'
DELETED, UNNUMBERED = sa.text('deleted_at IS NOT NULL'), sa.text('ordinal IS NULL')


def upgrade() -> None:
    op.add_column('messages', sa.Column('ordinal', sa.BigInteger(), nullable=True))
    op.add_column('messages', sa.Column('sender_ordinal', sa.BigInteger(), nullable=True))
    op.create_index('ix_messages_of_sender', 'messages', ['chat_pk', 'sender_pk', 'seq'])
    op.create_index(
        'ix_messages_deleted', 'messages', ['chat_pk', 'seq'], postgresql_where=DELETED, sqlite_where=DELETED
    )
    op.create_index(
        'ix_messages_unnumbered', 'messages', ['chat_pk', 'seq'], postgresql_where=UNNUMBERED, sqlite_where=UNNUMBERED
    )
