"""Mentions of members in messages"""

import sqlalchemy as sa
from alembic import op

revision = '0031'
down_revision = '0030'

KEY = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')
IN_THREAD = sa.text('root_seq IS NOT NULL')
ALL = sa.text('mention_all IS NOT NULL')


def upgrade() -> None:
    op.create_table(
        'mentions',
        sa.Column('user_pk', KEY, nullable=False),
        sa.Column('chat_pk', KEY, nullable=False),
        sa.Column('seq', sa.BigInteger(), nullable=False),
        sa.Column('root_seq', sa.BigInteger(), nullable=True),
        sa.Column('event_seq', sa.BigInteger(), nullable=False),
        sa.Column('created_at', sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint('user_pk', 'chat_pk', 'seq', name=op.f('pk_mentions')),
        sqlite_with_rowid=False,
        comment=(
            'root_seq is of a reply that its thread alone shows; event_seq is the event that mentioned the user; '
            'a mention of all is a flag of its message'
        ),
    )
    op.create_index('ix_mentions_message', 'mentions', ['chat_pk', 'seq'])
    op.create_index(
        'ix_mentions_thread',
        'mentions',
        ['user_pk', 'chat_pk', 'seq'],
        postgresql_where=IN_THREAD,
        sqlite_where=IN_THREAD,
    )
    op.create_index('ix_mentions_time', 'mentions', ['user_pk', 'created_at'])
    op.add_column('messages', sa.Column('mentions', sa.Text(), nullable=True))
    op.add_column('messages', sa.Column('mention_all', sa.Integer(), nullable=True))
    op.create_index(
        'ix_messages_mention_all',
        'messages',
        ['chat_pk', 'mention_all', 'seq'],
        postgresql_where=ALL,
        sqlite_where=ALL,
    )
    op.add_column('chats', sa.Column('mention_all_at', sa.BigInteger(), nullable=True))
    op.add_column('members', sa.Column('mute_level', sa.String(16), nullable=True))
