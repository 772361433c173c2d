"""Bans and silences of chats, in place of exclusions; how many watched a stream at most"""

import time

import sqlalchemy as sa
from alembic import op

revision = '0023'
down_revision = '0022'
FOREVER = 2**62
COMMENTS = {
    'exclusions': 'of the version before, which had it in place of sanctions',
    'streams': (
        'status is scheduled, ready, started, ended, cancelled or expired; announced when phones were told to start; '
        'peak is how many watched it at most'
    ),
}


def upgrade() -> None:
    op.create_table('sanctions',
    sa.Column('chat_pk', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('user_pk', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('kind', sa.String(16), nullable=False),
    sa.Column('until', sa.BigInteger(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=True),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['chat_pk'], ['chats.pk'], name=op.f('fk_sanctions_chat_pk')),
    sa.ForeignKeyConstraint(['user_pk'], ['users.pk'], name=op.f('fk_sanctions_user_pk')),
    sa.PrimaryKeyConstraint('chat_pk', 'user_pk', 'kind', name=op.f('pk_sanctions')),
    comment='kind is ban or silence; until is 2^62 where there is no end',
    sqlite_with_rowid=False,
    )
    op.create_index(op.f('ix_sanctions_user_pk'), 'sanctions', ['user_pk'])
    op.execute(
        'INSERT INTO sanctions (chat_pk, user_pk, kind, until, created_at) '
        f"SELECT chat_pk, user_pk, CASE WHEN role IS NULL THEN 'ban' ELSE 'silence' END, {FOREVER}, {time.time_ns() // 1000} FROM exclusions"
    )
    owns = sa.text("role = 'owner'")
    op.create_index('ix_members_owners', 'members', ['chat_pk'], postgresql_where=owns, sqlite_where=owns)
    op.add_column('streams', sa.Column('peak', sa.Integer(), nullable=False, server_default='0'))
    if op.get_bind().dialect.supports_comments:
        for table, comment in COMMENTS.items():
            op.create_table_comment(table, comment)
