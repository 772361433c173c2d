"""The audit trail by time, so that sweeping it reads old lines alone"""

from alembic import op

revision = '0020'
down_revision = '0019'


def upgrade() -> None:
    op.create_index('ix_audit_at', 'audit', ['at'])
