"""Who follows and reads which streams, as the tables say."""

from storage import accounts, blocks, chat, streams
from storage.accounts import NewUser
from storage.database import Database
from storage.models import users
from storage.streams import StreamChat
from storage.transaction import Command, Tx
from storage.types import SECOND


class Here:
    """Two hosts with a stream each, and three users."""

    def __init__(self, tx: Tx) -> None:
        tenant = accounts.default_tenant(tx)
        self.hosts = [accounts.add_user(tx, tenant.pk, NewUser(name)).pk for name in ("one", "other")]
        self.users = [accounts.add_user(tx, tenant.pk, NewUser(name)).pk for name in ("ann", "bob", "cem")]
        self.streams, self.chats = [], []
        for host in self.hosts:
            room = chat.add(tx, tenant.pk, type="group", name="s")
            self.chats.append(room)
            starts_at = tx.now + 60 * SECOND
            self.streams.append(
                streams.add(tx, tenant.pk, id=None, title="s", starts_at=starts_at, owner_pk=host, chat_pk=room)
            )
        self.stream, self.other = self.streams
        self.ann, self.bob, self.cem = self.users


async def test_following_is_new_once_and_ends_once(database: Database) -> None:
    def apply(tx: Tx) -> list[bool]:
        here = Here(tx)
        said = [streams.follow(tx, here.stream, here.ann), streams.follow(tx, here.stream, here.ann)]
        said += [streams.follow(tx, here.stream, here.bob), streams.unfollow(tx, here.other, here.ann)]
        said += [streams.unfollow(tx, here.stream, here.ann), streams.unfollow(tx, here.stream, here.ann)]
        follow = [streams.follows(tx.connection(), here.stream, each) for each in (here.bob, here.ann)]
        return [*said, *follow]

    said = await database.write(Command(apply))
    assert said == [True, False, True, False, True, False, True, False]


async def test_the_rooms_of_an_owner_that_a_user_is_in_or_follows(database: Database) -> None:
    def apply(tx: Tx) -> None:
        here = Here(tx)
        chat.add_members(tx, here.chats[0], [(here.ann, "member")], 0)
        streams.follow(tx, here.stream, here.bob)
        streams.follow(tx, here.other, here.cem)
        chat.add_members(tx, here.chats[1], [(here.cem, "member")], 0)
        room = StreamChat(here.stream, here.chats[0], chat.get(tx.connection(), here.chats[0]).id)

        def rooms(user_pk: int) -> list[StreamChat]:
            return streams.rooms_with(tx.connection(), here.hosts[0], user_pk)

        assert rooms(here.ann) == rooms(here.bob) == [room]
        assert rooms(here.cem) == [], "of another owner"

    await database.write(Command(apply))


async def test_whose_phones_may_show_a_stream(database: Database) -> None:
    def apply(tx: Tx) -> None:
        here = Here(tx)
        for pk in (here.ann, here.bob):
            streams.follow(tx, here.stream, pk)
        everybody = {*here.users, *here.hosts}

        def notifiable(pks: set[int]) -> set[int]:
            found = streams.notifiable(tx.connection(), {(here.stream, pk) for pk in pks})
            return {user_pk for _, user_pk in found}

        assert notifiable(everybody) == {here.ann, here.bob}
        assert notifiable({here.bob, here.cem}) == {here.bob}
        assert notifiable(set()) == set()
        assert blocks.add(tx, here.hosts[0], here.bob)
        assert blocks.add(tx, here.hosts[1], here.ann)
        assert notifiable(everybody) == {here.ann}
        tx.execute(users.update().where(users.c.pk == here.ann).values(status="disabled"))
        assert notifiable(everybody) == set()

    await database.write(Command(apply))


async def test_streams_by_more_ids_than_one_statement_takes(database: Database) -> None:
    def apply(tx: Tx) -> None:
        here = Here(tx)
        known = [streams.get(tx.connection(), pk).id for pk in here.streams]
        absent = [f"{number:024x}" for number in range(1_000)]
        ids = [known[0], *absent[:498], known[1], *absent[498:]]
        found = streams.named(tx.connection(), [(here.ann, id) for id in ids])
        assert sorted(pk for _, pk, *_ in found) == sorted(here.streams)
        assert streams.named(tx.connection(), []) == []

    await database.write(Command(apply))
