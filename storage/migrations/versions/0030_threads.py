"""Replies in threads, and who follows them"""

import sqlalchemy as sa
from alembic import op

revision = '0030'
down_revision = '0029'

KEY = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')
IS_REPLY = sa.text('thread_seq IS NOT NULL')


def upgrade() -> None:
    op.create_table(
        'thread_members',
        sa.Column('chat_pk', KEY, nullable=False),
        sa.Column('root_seq', sa.BigInteger(), nullable=False),
        sa.Column('user_pk', KEY, nullable=False),
        sa.Column('follows', sa.Boolean(), nullable=False),
        sa.Column('read_seq', sa.BigInteger(), nullable=False),
        sa.Column('replies', sa.Integer(), nullable=False),
        sa.Column('from_seq', sa.BigInteger(), nullable=False),
        sa.Column('read_before', sa.BigInteger(), nullable=False),
        sa.Column('first_seq', sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint('chat_pk', 'root_seq', 'user_pk', name=op.f('pk_thread_members')),
        sqlite_with_rowid=False,
        comment=(
            'who follows a thread, has read in it or replied; replies are those not deleted, first_seq is that of the first'
        ),
    )
    op.create_index('ix_thread_members_user', 'thread_members', ['user_pk', 'chat_pk'])
    op.add_column('messages', sa.Column('thread_seq', sa.BigInteger(), nullable=True))
    op.add_column('messages', sa.Column('thread_id', sa.String(24), nullable=True))
    op.add_column('messages', sa.Column('previous_seq', sa.BigInteger(), nullable=True))
    op.add_column('messages', sa.Column('thread', sa.Text(), nullable=True))
    op.create_index(
        'ix_messages_thread',
        'messages',
        ['chat_pk', 'thread_seq', 'seq'],
        postgresql_where=IS_REPLY,
        sqlite_where=IS_REPLY,
    )
