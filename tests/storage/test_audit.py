"""The audit trail: what users did to their own accounts goes after a time, what admins did stays."""

from sqlalchemy import insert, select, text

from storage import accounts, audit
from storage.accounts import NewUser
from storage.database import Database
from storage.models import audit as lines
from storage.transaction import Command, Tx

OLD, CUT, NEW = 1_000, 2_000, 3_000
OWN, BY_ADMINS = ("login", "login.failed", "password.reset"), ("user.ban", "tenant.change")


async def fill(database: Database) -> None:
    """A line of each kind from before the cut, and one from after it."""

    def apply(tx: Tx) -> None:
        user = accounts.add_user(tx, accounts.add_tenant(tx, "One").pk, NewUser("Ann"))
        row = {"tenant_pk": user.tenant_pk, "actor_pk": user.pk, "target": user.id, "details": "{}"}
        rows = [row | {"action": action, "at": at} for action in OWN + BY_ADMINS for at in (OLD, NEW)]
        tx.execute(insert(lines), rows)

    await database.write(Command(apply))


async def test_only_old_lines_of_users_are_swept_and_in_slices(database: Database) -> None:
    await fill(database)
    more = [await database.write(Command(lambda tx: audit.sweep(tx, before=CUT, limit=2))) for _ in range(2)]
    assert more == [True, False]
    left = await database.read(lambda it: {tuple(row) for row in it.execute(select(lines.c.action, lines.c.at))})
    assert left == {(each, NEW) for each in OWN + BY_ADMINS} | {(each, OLD) for each in BY_ADMINS}


async def test_a_sweep_reads_old_lines_alone(database: Database) -> None:
    def plan(tx: Tx) -> str:
        if tx.connection().dialect.name == "postgresql":
            # The table is too small for PostgreSQL to prefer an index by itself.
            tx.execute(text("SET LOCAL enable_seqscan = off"))
            tx.execute(text("SET LOCAL enable_bitmapscan = off"))
        explain = "EXPLAIN " if tx.connection().dialect.name == "postgresql" else "EXPLAIN QUERY PLAN "
        query = str(audit.old(CUT, 500).compile(tx.connection(), compile_kwargs={"literal_binds": True}))
        return "\n".join(str(row) for row in tx.execute(text(explain + query.replace(":", r"\:"))))

    assert "ix_audit_at" in await database.write(Command(plan))
