"""What events are about: the seq of the oldest object that an event refers to, where that is not its own"""

import sqlalchemy as sa
from alembic import op

revision = '0013'
down_revision = '0012'

MEMBER_OF_PAYLOAD = {
    'sqlite': "json_extract(CAST(payload AS TEXT), '$.{name}')",
    'postgresql': "(convert_from(payload, 'UTF8')::json ->> '{name}')::bigint",
}


def upgrade() -> None:
    op.add_column('events', sa.Column('about', sa.BigInteger(), nullable=True))
    # What the log keeps of edits, deletions and reading is a small part of it, so one statement fills it.
    member = MEMBER_OF_PAYLOAD[op.get_bind().dialect.name]
    for name, names in (('seq', "'message:updated', 'message:deleted'"), ('readSeq', "'message:read'")):
        op.execute(f"UPDATE events SET about = {member.format(name=name)} WHERE name IN ({names})")
