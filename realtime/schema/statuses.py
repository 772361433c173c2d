"""The HTTP status of each error code: what every dialect uses unless it says otherwise."""

from storage.errors import Problem

STATUSES = {
    "malformed": 400,
    "invalid": 400,
    "listed_word": 400,
    "weak_password": 400,
    "unauthenticated": 401,
    "token_expired": 401,
    "wrong_credentials": 401,
    "refresh_token_reused": 401,
    "forbidden": 403,
    "wrong_password": 403,
    "local_accounts_disabled": 403,
    "registration_closed": 403,
    "banned": 403,
    "silenced": 403,
    "frozen": 403,
    "links": 403,
    "not_found": 404,
    "invite_invalid": 404,
    "reset_link_invalid": 404,
    "method_not_allowed": 405,
    "conflict": 409,
    "account_exists": 409,
    "already_reported": 409,
    "chat_full": 409,
    "direct_chat": 409,
    "id_taken": 409,
    "idempotency_key_reused": 409,
    "insufficient_credits": 409,
    "last_admin": 409,
    "last_owner": 409,
    "limit_reached": 409,
    "message_deleted": 409,
    "no_invites": 409,
    "own_account": 409,
    "recipient_inactive": 409,
    "storage_full": 409,
    "stream_state": 409,
    "transfer_final": 409,
    "too_large": 413,
    "unsupported": 415,
    "too_many": 429,
    "slow_mode": 429,
    "internal": 500,
    "unavailable": 503,
}


def status_of(problem: Problem) -> int:
    return STATUSES[problem.code]
