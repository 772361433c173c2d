"""Pictures of users"""

import sqlalchemy as sa
from alembic import op

revision = '0036'
down_revision = '0035'

KEY = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')


def upgrade() -> None:
    op.create_table(
        'avatars',
        sa.Column('user_pk', KEY, nullable=False),
        sa.Column('hash', sa.String(64), nullable=False),
        sa.Column('data', sa.LargeBinary(), nullable=False),
        sa.Column('changed_at', sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(['user_pk'], ['users.pk'], name='fk_avatars_user_pk'),
        sa.PrimaryKeyConstraint('user_pk', name='pk_avatars'),
        comment='a square WebP picture of a user, made of what was uploaded',
    )
