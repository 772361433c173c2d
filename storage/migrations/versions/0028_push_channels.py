"""Push channels of Apple's, each for a stream in an app"""

import sqlalchemy as sa
from alembic import op

revision = '0028'
down_revision = '0027'

KEY = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')


def upgrade() -> None:
    op.create_table(
        'push_channel_apps',
        sa.Column('pk', KEY, nullable=False),
        sa.Column('environment', sa.String(16), nullable=False),
        sa.Column('bundle_id', sa.String(255), nullable=False),
        sa.Column('compared_at', sa.BigInteger(), nullable=False),
        sa.Column('due_at', sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint('pk', name=op.f('pk_push_channel_apps')),
        sa.UniqueConstraint('environment', 'bundle_id', name=op.f('uq_push_channel_apps_environment_bundle_id')),
        sqlite_autoincrement=True,
        comment="an app whose iPhones can use push channels; compared_at is when its channels were last compared with Apple's",
    )
    op.create_table(
        'push_channels',
        sa.Column('pk', KEY, nullable=False),
        sa.Column('stream_pk', KEY, nullable=True),
        sa.Column('environment', sa.String(16), nullable=False),
        sa.Column('bundle_id', sa.String(255), nullable=False),
        sa.Column('channel_id', sa.String(255), nullable=True),
        sa.Column('state', sa.String(16), nullable=False),
        sa.Column('stamp', sa.BigInteger(), nullable=False),
        sa.Column('unanswered', sa.Integer(), nullable=False),
        sa.Column('first_asked_at', sa.BigInteger(), nullable=False),
        sa.Column('asked_at', sa.BigInteger(), nullable=False),
        sa.Column('due_at', sa.BigInteger(), nullable=False),
        sa.Column('created_at', sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(['stream_pk'], ['streams.pk'], name=op.f('fk_push_channels_stream_pk')),
        sa.PrimaryKeyConstraint('pk', name=op.f('pk_push_channels')),
        sa.UniqueConstraint('stream_pk', 'environment', 'bundle_id', name=op.f('uq_push_channels_stream_pk_environment_bundle_id')),
        sa.UniqueConstraint('environment', 'bundle_id', 'channel_id', name=op.f('uq_push_channels_environment_bundle_id_channel_id')),
        sqlite_autoincrement=True,
        comment='a channel of Apple\'s for a stream in an app; state is wanted, open, ending, ended, failed or unknown',
    )
    op.create_index('ix_push_channels_due', 'push_channels', ['due_at'])
