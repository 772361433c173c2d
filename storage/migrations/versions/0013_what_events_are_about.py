"""What events are about: the seq of the oldest object that an event refers to, where that is not its own"""

import sqlalchemy as sa
from alembic import op

revision = '0013'
down_revision = '0012'

SEQ_OF_PAYLOAD = {
    'sqlite': "json_extract(CAST(payload AS TEXT), '$.seq')",
    'postgresql': "(convert_from(payload, 'UTF8')::json ->> 'seq')::bigint",
}


def upgrade() -> None:
    op.add_column('events', sa.Column('about', sa.BigInteger(), nullable=True))
    # What the log keeps of edits and deletions is a small part of it, so one statement fills it.
    op.execute(
        f"UPDATE events SET about = {SEQ_OF_PAYLOAD[op.get_bind().dialect.name]} "
        "WHERE name IN ('message:updated', 'message:deleted')"
    )
