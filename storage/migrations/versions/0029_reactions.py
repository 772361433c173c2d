"""Reactions to messages, and what is due at a time"""

import sqlalchemy as sa
from alembic import op

revision = '0029'
down_revision = '0028'

KEY = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')
DUE = sa.text('reactions_due IS NOT NULL')


def upgrade() -> None:
    op.create_table(
        'due',
        sa.Column('kind', sa.String(32), nullable=False),
        sa.Column('ref', KEY, nullable=False),
        sa.Column('at', sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint('kind', 'ref', name=op.f('pk_due')),
        sqlite_with_rowid=False,
        comment='what is to be done at a time; ref is the number of what it is about',
    )
    op.create_index('ix_due_at', 'due', ['at'])
    op.create_table(
        'reactions',
        sa.Column('chat_pk', KEY, nullable=False),
        sa.Column('seq', sa.BigInteger(), nullable=False),
        sa.Column('user_pk', KEY, nullable=False),
        sa.Column('key', sa.String(64), nullable=False),
        sa.Column('created_at', sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint('chat_pk', 'seq', 'user_pk', 'key', name=op.f('pk_reactions')),
        sqlite_with_rowid=False,
        comment=(
            'the message has the sum of them in its column reactions, as JSON, and in reaction_seq the event that shows it'
        ),
    )
    op.create_index('ix_reactions_user', 'reactions', ['user_pk', 'chat_pk', 'seq'])
    op.create_index('ix_members_joined', 'members', ['chat_pk', 'joined_seq'])
    op.add_column('chats', sa.Column('reactions', sa.String(16), nullable=False, server_default='members'))
    op.add_column('messages', sa.Column('reactions', sa.Text(), nullable=True))
    op.add_column('messages', sa.Column('reaction_seq', sa.BigInteger(), nullable=True))
    op.add_column('messages', sa.Column('reactions_due', sa.Integer(), nullable=True))
    op.create_index(
        'ix_messages_reactions_due', 'messages', ['chat_pk', 'seq'], postgresql_where=DUE, sqlite_where=DUE
    )
