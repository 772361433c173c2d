"""What chats allow, word lists, states of reports, and messages of banned users that are being deleted"""

import sqlalchemy as sa
from alembic import op

revision = '0035'
down_revision = '0034'

KEY = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')


def upgrade() -> None:
    op.add_column('chats', sa.Column('frozen', sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column('chats', sa.Column('slow_mode', sa.Integer(), server_default='0', nullable=False))
    op.add_column('chats', sa.Column('links', sa.String(16), server_default='all', nullable=False))
    op.create_table(
        'last_posts',
        sa.Column('chat_pk', KEY, nullable=False),
        sa.Column('user_pk', KEY, nullable=False),
        sa.Column('at', sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(['chat_pk'], ['chats.pk'], name='fk_last_posts_chat_pk'),
        sa.ForeignKeyConstraint(['user_pk'], ['users.pk'], name='fk_last_posts_user_pk'),
        sa.PrimaryKeyConstraint('chat_pk', 'user_pk', name='pk_last_posts'),
        sqlite_with_rowid=False,
        comment='when a user posted last, in a chat in slow mode',
    )
    op.create_index('ix_last_posts_user_pk', 'last_posts', ['user_pk'])
    op.create_table(
        'purges',
        sa.Column('pk', KEY, nullable=False),
        sa.Column('chat_pk', KEY, nullable=False),
        sa.Column('user_pk', KEY, nullable=False),
        sa.Column('since', sa.BigInteger(), nullable=False),
        sa.Column('before_seq', sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(['chat_pk'], ['chats.pk'], name='fk_purges_chat_pk'),
        sa.ForeignKeyConstraint(['user_pk'], ['users.pk'], name='fk_purges_user_pk'),
        sa.PrimaryKeyConstraint('pk', name='pk_purges'),
        sqlite_autoincrement=True,
        comment='messages of a banned user that are being deleted: those sent since a time, below before_seq',
    )
    op.create_index('ix_purges_user_pk', 'purges', ['user_pk'])
    op.create_table(
        'word_lists',
        sa.Column('tenant_pk', KEY, nullable=False),
        sa.Column('name', sa.String(64), nullable=False),
        sa.Column('action', sa.String(16), nullable=False),
        sa.Column('words', sa.Text(), nullable=False),
        sa.Column('updated_at', sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(['tenant_pk'], ['tenants.pk'], name='fk_word_lists_tenant_pk'),
        sa.PrimaryKeyConstraint('tenant_pk', 'name', name='pk_word_lists'),
        sqlite_with_rowid=False,
        comment='words as JSON; action is reject or flag',
    )
    with op.batch_alter_table('reports', table_kwargs={'sqlite_autoincrement': True}) as batch_op:
        batch_op.alter_column('reporter_pk', existing_type=KEY, nullable=True)
        batch_op.add_column(sa.Column('state', sa.String(16), server_default='open', nullable=False))
        batch_op.add_column(sa.Column('action', sa.String(16), nullable=True))
        batch_op.add_column(sa.Column('resolved_at', sa.BigInteger(), nullable=True))
        batch_op.create_index('ix_reports_message', ['message_id'])
        batch_op.create_index('ix_reports_state', ['tenant_pk', 'state', 'pk'])
        batch_op.create_table_comment(
            'without a reporter it was made for a word of a list; state is open, actioned or dismissed',
            existing_comment=None,
        )
