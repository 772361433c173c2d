"""The search index of PostgreSQL; SQLite's is a file of its own"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0034'
down_revision = '0033'


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    op.create_table(
        'search_positions',
        sa.Column('chat_pk', sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column('seq', sa.BigInteger(), nullable=False),
        sa.Column('filled', sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint('chat_pk', name='pk_search_positions'),
        comment='how far a chat is indexed: events up to seq, messages up to filled',
    )
    op.create_table(
        'search_texts',
        sa.Column('chat_pk', sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column('seq', sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column('keys', postgresql.TSVECTOR(), nullable=False),
        sa.PrimaryKeyConstraint('chat_pk', 'seq', name='pk_search_texts'),
        comment="what can be found of each message; a key begins with the chat's number",
    )
    op.create_index(
        'ix_search_texts_keys',
        'search_texts',
        ['keys'],
        postgresql_using='gin',
        postgresql_with={'fastupdate': 'off'},
    )
