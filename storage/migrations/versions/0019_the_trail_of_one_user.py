"""The trail of one user"""

from alembic import op

revision = '0019'
down_revision = '0018'


def upgrade() -> None:
    op.create_index('ix_audit_actor', 'audit', ['actor_pk', 'pk'])
