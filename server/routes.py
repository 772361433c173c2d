"""Every URL on one screen."""

from typing import Any, Generic, TypeVar

from typing_extensions import TypedDict

from realtime.schema import bodies
from realtime.schema.shapes import (
    AuditDocument,
    BalanceDocument,
    BroadcastDocument,
    ChatDocument,
    ChatFactsDocument,
    CreditDocument,
    DeliveryDocument,
    DeviceDocument,
    LinkDocument,
    LoginDocument,
    MemberDocument,
    MessageDocument,
    NewWebhookDocument,
    NodeDocument,
    PreviewDocument,
    ReadDocument,
    ReportDocument,
    StreamDocument,
    TemplateDocument,
    UploadDocument,
    UserDocument,
    WebhookCallDocument,
    WebhookDocument,
)
from server import (
    accounts,
    administration,
    broadcasts,
    chat,
    credits,
    devices,
    dialects,
    media,
    messages,
    nodes,
    notifications,
    streams,
    templates,
    webhooks,
)
from server.call import Lines, Paging, Route

T = TypeVar("T")


class Page(TypedDict, Generic[T]):
    items: list[T]
    nextCursor: str | None


class Listed(TypedDict, Generic[T]):
    """All of them: there are few"""

    items: list[T]


class HistoryDocument(TypedDict):
    items: list[MessageDocument]
    before: int | None
    after: int | None


class Succeeded(TypedDict):
    success: bool


class Reversal(TypedDict):
    transactionId: str


def route(method: str, path: str, handler: Any, answer: Any, summary: str, **options: Any) -> Route:
    return Route(method, path, handler, answer, summary, **options)


AUTH = "/api/v1/auth"
USERS = "/api/v1/users"
ADMIN = "/api/v1/admin"
CHATS = "/api/v2/chats"
MESSAGES = "/api/v2/messages"
MEDIA = "/api/v2/media"
DEVICES = "/api/v1/devices"
CREDITS = "/api/v1/credits"
STREAMS = "/api/v1/streams"
TEMPLATE_PATHS = [path.rstrip("/") for path in dialects.template.PATHS]
LOGGED_IN = accounts.LoggedInDocument

# fmt: off
ROUTES: list[Route] = [
    route("POST", f"{AUTH}/register", accounts.register, LOGGED_IN, "Register with e-mail and password",
          body=accounts.Register, status=201, public=True, errors=(403, 404, 409), units=10),
    route("POST", f"{AUTH}/login", accounts.login, LOGGED_IN, "Log in", body=accounts.Login, public=True,
          errors=(404,), units=10),
    route("POST", f"{AUTH}/refresh", accounts.refresh, LOGGED_IN, "Exchange a refresh token for a new pair of tokens",
          body=accounts.RefreshToken, public=True, units=10),
    route("POST", f"{AUTH}/logout", accounts.logout, Succeeded, "Log out: end this login, its tokens and its sockets",
          body=accounts.LogOut, bodiless=True, public=True, units=10),
    route("POST", f"{AUTH}/password", accounts.change_password, UserDocument, "Change the password and end all other logins",
          body=accounts.ChangePassword, errors=(403, 409), units=10),
    route("POST", f"{AUTH}/reset", accounts.reset_password, UserDocument, "Set a password with a password reset link",
          body=accounts.ResetPassword, public=True, errors=(404,), units=10),

    route("GET", f"{USERS}/me", accounts.me, UserDocument, "Get the current user", units=9),
    route("PATCH", f"{USERS}/me", accounts.change_me, UserDocument, "Update the current user",
          body=accounts.ChangeMe, units=15),
    route("DELETE", f"{USERS}/me", accounts.delete_me, Succeeded,
          "Delete the current user; the server's policy decides what happens to their messages", errors=(409,), units=30),
    route("GET", f"{USERS}/me/sessions", accounts.sessions, Listed[LoginDocument],
          "List the current user's logins", units=10),
    route("DELETE", f"{USERS}/me/sessions", accounts.end_other_sessions, Succeeded,
          "End all other logins and tokens of the current user", units=20),
    route("DELETE", f"{USERS}/me/sessions/{{id}}", accounts.end_session, Succeeded, "End a login of the current user",
          errors=(404,), units=20),
    route("GET", f"{USERS}/me/blocks", accounts.blocks, Page[UserDocument], "List blocked users", query=Paging,
          units=9, units_per_item=0.1),
    route("POST", f"{USERS}/me/blocks", accounts.block, UserDocument, "Block a user",
          body=accounts.BlockUser, status=201, also_200=True, errors=(404,), units=25),
    route("DELETE", f"{USERS}/me/blocks/{{userId}}", accounts.unblock, Succeeded, "Unblock a user", errors=(404,),
          units=20),
    route("GET", USERS, accounts.find, Page[UserDocument], "Find users by name or by ids", query=accounts.FindUsers,
          units=8, units_per_item=0.4),
    route("GET", f"{USERS}/{{id}}", accounts.get, UserDocument, "Get a user", errors=(404,), units=11),
    route("POST", USERS, administration.create, UserDocument, "Create a user; ids may be supplied",
          body=administration.CreateUser, status=201, permission="users.manage", errors=(403, 409), units=18),
    route("PATCH", f"{USERS}/{{id}}", administration.change, UserDocument, "Update a user's name or permissions",
          body=administration.ChangeUser, query=administration.Confirm, permission="users.manage", errors=(403, 404, 409),
          units=21),
    route("POST", f"{USERS}/{{id}}/tokens", administration.issue_token, administration.TokenDocument,
          "Issue a token for a user",
          body=administration.IssueToken, status=201, permission="users.manage", errors=(403, 404), units=15),
    route("POST", "/api/v1/tenants", administration.create_tenant, administration.TenantDocument, "Create a tenant",
          body=administration.CreateTenant, status=201, permission="platform.admin", errors=(403, 409), units=10),

    route("POST", CHATS, chat.create, ChatDocument, "Create a group, or get or create a direct chat",
          body=bodies.CreateChat, status=201, also_200=True, errors=(403, 404, 409), units=20, units_per_item=1.2),
    route("GET", CHATS, chat.list_mine, Page[ChatDocument], "List the current user's chats, most recently active first",
          query=Paging, units=8, units_per_item=15),
    route("GET", f"{CHATS}/{{id}}", chat.get, ChatDocument, "Get a chat", errors=(404,), units=36),
    route("PATCH", f"{CHATS}/{{id}}", chat.change, ChatDocument, "Update a group",
          body=bodies.ChangeChat, errors=(403, 404, 409), units=25),
    route("DELETE", f"{CHATS}/{{id}}", chat.delete, ChatDocument, "Delete a group", errors=(403, 404), units=100),
    route("GET", f"{CHATS}/{{id}}/members", chat.members, Page[MemberDocument], "List members", query=Paging, errors=(404,),
          units=8, units_per_item=0.4),
    route("POST", f"{CHATS}/{{id}}/members", chat.add_members, ChatDocument, "Add members",
          body=bodies.AddMembers, status=201, also_200=True, errors=(403, 404, 409), units=20, units_per_item=1.6),
    route("PATCH", f"{CHATS}/{{id}}/members/{{userId}}", chat.change_member, MemberDocument, "Change a member's role",
          body=bodies.ChangeMember, errors=(403, 404, 409), units=135),
    route("DELETE", f"{CHATS}/{{id}}/members/{{userId}}", chat.remove_member, ChatDocument, "Remove a member",
          errors=(403, 404, 409), units=55),
    route("POST", f"{CHATS}/{{id}}/leave", chat.leave, Succeeded, "Leave a group", errors=(404, 409), units=55),
    route("POST", f"{CHATS}/{{id}}/mute", chat.mute, ChatDocument, "Mute a chat until a time; null unmutes it",
          body=bodies.MuteChat, errors=(404,), units=25),

    route("POST", MESSAGES, messages.post, MessageDocument, "Send a message",
          body=bodies.SendMessage, status=201, multipart="too", keyed=True, errors=(403, 404, 409), units=7),
    route("GET", MESSAGES, messages.history, HistoryDocument, "List messages of a chat, ascending by seq",
          query=messages.History, errors=(404,), units=10, units_per_item=1),
    route("GET", f"{MESSAGES}/{{id}}", messages.get, MessageDocument, "Get a message", errors=(404,), units=14),
    route("PATCH", f"{MESSAGES}/{{id}}", messages.edit, MessageDocument, "Edit a message",
          body=bodies.EditMessage, errors=(403, 404, 409), units=30),
    route("DELETE", f"{MESSAGES}/{{id}}", messages.delete, MessageDocument, "Delete a message, leaving a tombstone",
          errors=(403, 404), units=25),
    route("POST", f"{MESSAGES}/{{id}}/read", messages.mark_read, ReadDocument, "Mark as read up to this message",
          errors=(404,), units=13),
    route("POST", f"{MESSAGES}/{{id}}/report", messages.report, Succeeded, "Report a message to administrators",
          body=bodies.ReportMessage, status=201, errors=(404, 409), units=20),

    route("POST", MEDIA, media.upload, UploadDocument, "Upload a file to send in a message",
          body=media.UploadFile, status=201, multipart="only", errors=(409,), units=90),
    route("GET", f"{MEDIA}/{{id}}", media.show, bytes, "Get a file or a range of it", query=media.Linked, public=True,
          errors=(401, 403, 404), units=12),
    route("GET", f"{MEDIA}/{{id}}/thumbnail", media.thumbnail, bytes, "Get the thumbnail", query=media.Linked,
          public=True, errors=(401, 403, 404), units=15),
    route("POST", f"{MEDIA}/{{id}}/link", media.link, LinkDocument,
          "Create a link that works without a token for ten minutes", status=201, errors=(404,), units=10),

    route("POST", "/api/v1/notifications/live-activity-sessions", streams.register_activity, Succeeded,
          "Register the push token of a Live Activity", body=bodies.RegisterActivity, status=201, bare=True,
          errors=(403, 404, 409), units=22),
    route("POST", STREAMS, streams.create, StreamDocument, "Schedule a stream", body=bodies.CreateStream, status=201,
          permission="streams.manage", errors=(403, 409), units=21),
    route("GET", STREAMS, streams.list_all, Page[StreamDocument], "List streams, newest first",
          query=streams.StreamQuery, units=8, units_per_item=0.3),
    route("GET", f"{STREAMS}/{{id}}", streams.get, StreamDocument, "Get a stream", errors=(404,), units=10),
    route("PATCH", f"{STREAMS}/{{id}}", streams.change, StreamDocument, "Update a stream",
          body=bodies.ChangeStream, errors=(403, 404, 409), units=33),
    *(route("POST", f"{STREAMS}/{{id}}/{verb}", streams.move, StreamDocument, summary, errors=(403, 404, 409), units=21)
      for verb, summary in (("ready", "Mark a stream as ready"), ("start", "Start a stream"),
                            ("end", "End a stream"), ("cancel", "Cancel a stream"))),
    route("POST", f"{STREAMS}/{{id}}/follow", streams.follow, StreamDocument, "Follow a stream and join its chat",
          errors=(403, 404), units=25),
    route("POST", f"{STREAMS}/{{id}}/unfollow", streams.unfollow, StreamDocument, "Unfollow a stream and leave its chat",
          errors=(403, 404), units=25),

    *(route(method, f"{prefix}/notifications{path}", handler, answer, summary, negotiated=True, **options)
      for prefix in ("/api/v1", *(path.rstrip("/") for path in dialects.paths()))
      for method, path, handler, answer, summary, options in (
          ("POST", "", notifications.create, "Document", "Send a notification",
           {"body": "Create", "status": 201, "keyed": True, "errors": (403, 404, 409), "units": 31}),
          ("GET", "", notifications.list_box, "Page", "List the current user's notifications, newest first",
           {"query": notifications.NotificationQuery, "units": 10, "units_per_item": 0.9}),
          ("GET", "/unread-count", notifications.unread_count, notifications.Count, "Count unread notifications",
           {"units": 11}),
          ("POST", "/read-all", notifications.read_all, notifications.Count, "Mark all notifications as read", {"units": 20}),
          ("GET", "/{id}", notifications.get, "Document", "Get a notification", {"errors": (404,), "units": 11}),
          ("DELETE", "/{id}", notifications.delete, "Document", "Delete a notification", {"errors": (404,), "units": 26}),
          ("POST", "/{id}/read", notifications.read, "Document", "Mark a notification as read",
           {"errors": (403, 404), "units": 17}),
      )),
    *(route(method, f"{prefix}/templates{path}", handler, answer, summary, negotiated=True, permission="templates.manage",
            **options)
      for prefix in TEMPLATE_PATHS
      for method, path, handler, answer, summary, options in (
          ("POST", "", templates.create, TemplateDocument, "Create a template",
           {"body": bodies.CreateTemplate, "status": 201, "errors": (403, 404, 409), "units": 14}),
          ("GET", "", templates.list_all, Page[TemplateDocument], "List templates",
           {"query": Paging, "errors": (403,), "units": 10, "units_per_item": 0.1}),
          ("GET", "/{key}", templates.get, TemplateDocument, "Get a template", {"errors": (403, 404), "units": 8}),
          ("PATCH", "/{key}", templates.change, TemplateDocument, "Update a template",
           {"body": bodies.ChangeTemplate, "errors": (403, 404), "units": 14}),
          ("DELETE", "/{key}", templates.remove, TemplateDocument, "Delete a template", {"errors": (403, 404), "units": 14}),
          ("POST", "/{key}/preview", templates.preview, PreviewDocument, "Render a template without sending it",
           {"body": bodies.PreviewTemplate, "errors": (403, 404), "units": 15}),
      )),

    route("GET", CREDITS, credits.balance, BalanceDocument, "Get the current user's balance", units=10),
    route("GET", f"{CREDITS}/transactions", credits.transactions, Page[CreditDocument],
          "List the current user's transactions, newest first", query=Paging, units=8, units_per_item=0.12),
    route("POST", f"{CREDITS}/grants", credits.grant, BalanceDocument, "Grant credits from the issuing account",
          body=bodies.Grant, status=201, keyed=True, permission="credits.grant", errors=(403, 404, 409), units=29),
    route("POST", f"{ADMIN}/credits/transactions/{{id}}/reverse", credits.reverse, Reversal,
          "Reverse a transaction", status=201, permission="admin", errors=(403, 404, 409), units=40),

    route("POST", DEVICES, devices.register, DeviceDocument, "Register a device or update its token",
          body=bodies.RegisterDevice, status=201, also_200=True, errors=(409,), units=15),
    route("GET", DEVICES, devices.list_mine, Page[DeviceDocument], "List the current user's devices", query=Paging,
          units=9, units_per_item=0.1),
    route("DELETE", f"{DEVICES}/{{deviceId}}", devices.remove, DeviceDocument, "Remove a device", errors=(404,), units=15),

    *(route("POST", f"{ADMIN}/users/{{id}}/{verb}", administration.administer, UserDocument, summary,
            query=administration.Confirm, permission="admin", errors=(403, 404, 409), units=29)
      for verb, summary in (("disable", "Disable an account"), ("enable", "Enable an account"),
                            ("ban", "Ban a user"), ("unban", "Unban a user"), ("sign-out", "Sign a user out everywhere"))),
    route("DELETE", f"{ADMIN}/users/{{id}}", administration.delete, Succeeded, "Delete a user",
          query=administration.Confirm, permission="admin", errors=(403, 404, 409), units=31),
    route("POST", f"{ADMIN}/users/{{id}}/export", administration.export, Lines,
          "Export user data as NDJSON", permission="admin", errors=(403, 404), units=4000),
    route("GET", f"{ADMIN}/audit", administration.audit, Page[AuditDocument], "List audit entries, newest first",
          query=Paging, permission="admin", errors=(403,), units=10, units_per_item=0.1),
    route("POST", f"{ADMIN}/users/{{id}}/reset-link", administration.reset_link, administration.ResetLinkDocument,
          "Create a password reset link", status=201, permission="admin", errors=(403, 404), units=15),
    route("GET", f"{ADMIN}/tenant", administration.tenant, administration.TenantSettingsDocument, "Get tenant settings",
          permission="admin", errors=(403,), units=13),
    route("PATCH", f"{ADMIN}/tenant", administration.change_tenant, administration.TenantSettingsDocument,
          "Update tenant settings", body=administration.ChangeTenant,
          permission="admin", errors=(403,), units=18),
    route("POST", f"{ADMIN}/invitations", administration.invite, administration.TokenDocument,
          "Create an invitation to register one account", body=administration.Invite, status=201, permission="admin",
          errors=(403,), units=10),
    route("GET", f"{ADMIN}/push/dead-letters", devices.dead_letters, Page[DeliveryDocument],
          "List dead-letter pushes, newest first", query=Paging, permission="admin", errors=(403,),
          units=10, units_per_item=0.1),
    route("POST", f"{ADMIN}/push/dead-letters/{{number}}/retry", devices.retry, Succeeded, "Retry a dead-letter push",
          permission="admin", errors=(403, 404), units=20),
    route("GET", f"{ADMIN}/push/deliveries", devices.deliveries, Page[DeliveryDocument],
          "List a user's push deliveries, newest first", query=devices.PushQuery, permission="admin", errors=(403, 404),
          units=12, units_per_item=0.1),
    route("GET", f"{ADMIN}/nodes", nodes.list_all, Page[NodeDocument], "List nodes",
          permission="admin", errors=(403,), units=10),
    route("GET", f"{ADMIN}/chats", chat.search, Page[ChatFactsDocument], "Find chats by name or id",
          query=chat.Search, permission="admin", errors=(403,), units=10, units_per_item=0.2),
    route("POST", f"{ADMIN}/broadcasts", broadcasts.send, BroadcastDocument,
          "Send or preview a broadcast", body=bodies.SendBroadcast, status=201,
          also_200=True, keyed=True, permission="admin", errors=(403, 409), units=30),
    route("GET", f"{ADMIN}/broadcasts", broadcasts.list_all, Page[BroadcastDocument], "List broadcasts, newest first",
          query=Paging, permission="admin", errors=(403,), units=9, units_per_item=0.1),
    route("POST", f"{ADMIN}/webhooks", webhooks.create, NewWebhookDocument, "Create a webhook",
          body=bodies.CreateWebhook, status=201, permission="admin", errors=(403, 409), units=20),
    route("GET", f"{ADMIN}/webhooks", webhooks.list_all, Page[WebhookDocument], "List webhooks, newest first",
          query=Paging, permission="admin", errors=(403,), units=9, units_per_item=0.1),
    route("PATCH", f"{ADMIN}/webhooks/{{id}}", webhooks.change, WebhookDocument, "Update a webhook",
          body=bodies.ChangeWebhook, permission="admin", errors=(403, 404), units=20),
    route("DELETE", f"{ADMIN}/webhooks/{{id}}", webhooks.remove, Succeeded, "Delete a webhook and its pending calls",
          permission="admin", errors=(403, 404), units=20),
    route("GET", f"{ADMIN}/webhooks/{{id}}/calls", webhooks.calls, Page[WebhookCallDocument],
          "List calls of a webhook, newest first", query=Paging, permission="admin", errors=(403, 404),
          units=10, units_per_item=0.1),
    route("POST", f"{ADMIN}/webhooks/{{id}}/calls/{{number}}/retry", webhooks.retry, Succeeded, "Retry a webhook call",
          permission="admin", errors=(403, 404), units=20),
    route("GET", f"{ADMIN}/reports", administration.reports, Page[ReportDocument], "List reported messages, newest first",
          query=Paging, permission="admin", errors=(403,), units=9, units_per_item=0.1),
]
# fmt: on
