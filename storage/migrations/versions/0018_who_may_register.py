"""Who may register in a tenant"""

import sqlalchemy as sa
from alembic import op

revision = '0018'
down_revision = '0017'


def upgrade() -> None:
    op.add_column('tenants', sa.Column('registration', sa.String(16), nullable=True))
    op.add_column('tenants', sa.Column('domains', sa.Text(), nullable=True))
    op.create_table('invitations',
    sa.Column('digest', sa.String(64), nullable=False),
    sa.Column('tenant_pk', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('email_key', sa.String(255), nullable=True),
    sa.Column('expires_at', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['tenant_pk'], ['tenants.pk'], name=op.f('fk_invitations_tenant_pk')),
    sa.PrimaryKeyConstraint('digest', name=op.f('pk_invitations')),
    comment='with each of these one account may be made; digest is that of what was handed out'
    )
