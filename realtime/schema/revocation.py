"""Whether tokens still count: what a ban, a sign-out, a new password or a lost permission has ended."""

from collections.abc import Sequence

from sqlalchemy import Connection

from realtime.schema.caller import LEEWAY_SECONDS, Caller, expand
from storage import accounts, logins
from storage.fetch import Rows, fetch
from storage.prepared import json_list
from storage.statements import Read
from storage.types import SECOND, now


def still_valid(connection: Connection, callers: Sequence[Caller]) -> set[Caller]:
    """Those whose tokens still count: the user active, the login alive, nothing signed out since.

    The maker of a token for another user must be active too, and have the permission that it took.
    """
    return valid_callers(callers, *fetch(connection, *reads_of_valid(callers))) if callers else set()


def reads_of_valid(callers: Sequence[Caller]) -> tuple[Read, Read]:
    """The query of ``valid_callers``."""
    pks = {each.pk for each in callers} | {maker.pk for each in callers for maker in each.makers}
    ids = {each.login for each in callers if each.login}
    return (accounts.STATES, {"pks": json_list(pks)}), (logins.LIVING, {"ids": json_list(ids)})


def valid_callers(callers: Sequence[Caller], users: Rows, living_logins: Rows) -> set[Caller]:
    """As ``still_valid`` says, of rows that were read."""
    states, living = accounts.states(users), set(living_logins)
    latest = now() + LEEWAY_SECONDS * SECOND

    def counts(caller: Caller) -> bool:
        status, valid_after, _ = states[caller.pk]
        for maker in caller.makers:
            state = states.get(maker.pk)
            if state is None or state.status != "active" or not maker.needs <= expand(state.permissions):
                return False
        # Of who was signed out, a token of the future may be from before: the clock was set back.
        recent = not valid_after or valid_after <= caller.issued_at <= latest
        if caller.login is None:
            return status == "active" and recent
        # A token that was issued on request ends with the login, and with the next password.
        return status == "active" and (caller.login, caller.pk) in living and (recent or not caller.makers)

    return {each for each in callers if counts(each)}
