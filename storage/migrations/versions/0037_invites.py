"""Invite links of groups"""

import sqlalchemy as sa
from alembic import op

revision = '0037'
down_revision = '0036'

KEY = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')


def upgrade() -> None:
    op.create_table(
        'invites',
        sa.Column('chat_pk', KEY, nullable=False),
        sa.Column('key', sa.String(24), nullable=False),
        sa.Column('expires_at', sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(['chat_pk'], ['chats.pk'], name='fk_invites_chat_pk'),
        sa.PrimaryKeyConstraint('chat_pk', name='pk_invites'),
        sa.UniqueConstraint('key', name='uq_invites_key'),
        comment='links by which users join a group; key is the beginning of the token',
    )
