"""Indexes of sweeps, so that they read only the rows that have expired"""

from alembic import op

revision = '0020'
down_revision = '0019'


def upgrade() -> None:
    op.create_index('ix_audit_at', 'audit', ['at'])
    op.create_index('ix_logins_expires_at', 'logins', ['expires_at'])
