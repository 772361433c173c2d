"""Where somebody is logged in"""

import sqlalchemy as sa
from alembic import op

revision = '0017'
down_revision = '0016'


def upgrade() -> None:
    op.add_column('logins', sa.Column('address', sa.String(64), nullable=True))
    op.add_column('logins', sa.Column('agent', sa.String(255), nullable=True))
    op.add_column('logins', sa.Column('used_at', sa.BigInteger(), nullable=True))
