"""How many messages of a chat there are up to each message, and up to where its members have read"""

import sqlalchemy as sa
from alembic import op

revision = '0022'
down_revision = '0021'
DELETED, UNNUMBERED, UNKNOWN = (
    sa.text(each) for each in ('deleted_at IS NOT NULL', 'ordinal IS NULL', 'read_ordinal IS NULL')
)


COMMENTS = {
    'channels': 'head is the newest seq; events up to and with floor are gone; ordinal is that of a chat\'s newest message',
    'members': (
        'read_ordinal is that of the newest message up to read_seq, own_after how many of one\'s own come after it'
    ),
    'messages': (
        'seq is that of the message:new event; edits are the seqs of its message:updated events, as a JSON list; '
        'ordinal is how many messages of the chat count as unread up to this one'
    ),
}


def upgrade() -> None:
    if op.get_bind().dialect.supports_comments:
        for table, comment in COMMENTS.items():
            op.create_table_comment(table, comment)
    for table, name in (
        ('channels', 'ordinal'), ('messages', 'ordinal'), ('members', 'read_ordinal'), ('members', 'own_after')
    ):
        op.add_column(table, sa.Column(name, sa.BigInteger(), nullable=True))
    # Where there is nothing to number. The rest is numbered by the server, in slices.
    op.execute('UPDATE channels SET ordinal = 0 WHERE NOT EXISTS (SELECT 1 FROM messages WHERE chat_pk = channels.pk)')
    op.execute(
        'UPDATE members SET read_ordinal = 0, own_after = 0 '
        'WHERE chat_pk IN (SELECT pk FROM channels WHERE ordinal = 0)'
    )
    for name, table, columns, where in (
        ('ix_channels_unnumbered', 'channels', ['pk'], UNNUMBERED),
        ('ix_members_unnumbered', 'members', ['chat_pk'], UNKNOWN),
        ('ix_messages_unnumbered', 'messages', ['chat_pk', 'seq'], UNNUMBERED),
        ('ix_messages_deleted', 'messages', ['chat_pk', 'seq'], DELETED),
    ):
        op.create_index(name, table, columns, postgresql_where=where, sqlite_where=where)
