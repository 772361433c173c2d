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
    route("POST", f"{AUTH}/refresh", accounts.refresh, LOGGED_IN, "A new pair of tokens for a refresh token",
          body=accounts.RefreshToken, public=True, units=10),
    route("POST", f"{AUTH}/logout", accounts.logout, Succeeded, "End a login, its tokens and its sockets",
          body=accounts.LogOut, bodiless=True, public=True, units=10),
    route("POST", f"{AUTH}/password", accounts.change_password, UserDocument, "Change the password; ends other logins",
          body=accounts.ChangePassword, errors=(403, 409), units=10),
    route("POST", f"{AUTH}/reset", accounts.reset_password, UserDocument, "Set a password with a one-time link",
          body=accounts.ResetPassword, public=True, errors=(404,), units=10),

    route("GET", f"{USERS}/me", accounts.me, UserDocument, "Oneself", units=9),
    route("PATCH", f"{USERS}/me", accounts.change_me, UserDocument, "Change oneself", body=accounts.ChangeMe, units=15),
    route("DELETE", f"{USERS}/me", accounts.delete_me, Succeeded,
          "Delete oneself; what one said stays or goes by the server's policy", errors=(409,), units=30),
    route("GET", f"{USERS}/me/sessions", accounts.sessions, Listed[LoginDocument], "Where one is logged in", units=10),
    route("DELETE", f"{USERS}/me/sessions", accounts.end_other_sessions, Succeeded,
          "End all one's logins and tokens but the login that asks", units=20),
    route("DELETE", f"{USERS}/me/sessions/{{id}}", accounts.end_session, Succeeded, "End one of one's logins",
          errors=(404,), units=20),
    route("GET", f"{USERS}/me/blocks", accounts.blocks, Page[UserDocument], "Whom one blocks", query=Paging,
          units=9, units_per_item=0.1),
    route("POST", f"{USERS}/me/blocks", accounts.block, UserDocument, "Block a user",
          body=accounts.BlockUser, status=201, also_200=True, errors=(404,), units=25),
    route("DELETE", f"{USERS}/me/blocks/{{userId}}", accounts.unblock, Succeeded, "Unblock a user", errors=(404,),
          units=20),
    route("GET", USERS, accounts.find, Page[UserDocument], "Find users by name, or by ids", query=accounts.FindUsers,
          units=8, units_per_item=0.4),
    route("GET", f"{USERS}/{{id}}", accounts.get, UserDocument, "A user", errors=(404,), units=11),
    route("POST", USERS, administration.create, UserDocument, "Provision a user; ids may be supplied",
          body=administration.CreateUser, status=201, permission="users.manage", errors=(403, 409), units=18),
    route("PATCH", f"{USERS}/{{id}}", administration.change, UserDocument, "Change a user's name or permissions",
          body=administration.ChangeUser, query=administration.Confirm, permission="users.manage", errors=(403, 404, 409),
          units=21),
    route("POST", f"{USERS}/{{id}}/tokens", administration.issue_token, administration.TokenDocument,
          "A token of another user",
          body=administration.IssueToken, status=201, permission="users.manage", errors=(403, 404), units=15),
    route("POST", "/api/v1/tenants", administration.create_tenant, administration.TenantDocument, "Provision a tenant",
          body=administration.CreateTenant, status=201, permission="platform.admin", errors=(403, 409), units=10),

    route("POST", CHATS, chat.create, ChatDocument, "Create a group, or find or create a direct chat",
          body=bodies.CreateChat, status=201, also_200=True, errors=(403, 404, 409), units=20, units_per_item=1.2),
    route("GET", CHATS, chat.list_mine, Page[ChatDocument], "One's chats, the most recently active first", query=Paging,
          units=8, units_per_item=15),
    route("GET", f"{CHATS}/{{id}}", chat.get, ChatDocument, "A chat", errors=(404,), units=36),
    route("PATCH", f"{CHATS}/{{id}}", chat.change, ChatDocument, "Rename a group",
          body=bodies.ChangeChat, errors=(403, 404, 409), units=25),
    route("DELETE", f"{CHATS}/{{id}}", chat.delete, ChatDocument, "Delete a group", errors=(403, 404), units=100),
    route("GET", f"{CHATS}/{{id}}/members", chat.members, Page[MemberDocument], "Members", query=Paging, errors=(404,),
          units=8, units_per_item=0.4),
    route("POST", f"{CHATS}/{{id}}/members", chat.add_members, ChatDocument, "Add members",
          body=bodies.AddMembers, status=201, also_200=True, errors=(403, 404, 409), units=20, units_per_item=1.6),
    route("PATCH", f"{CHATS}/{{id}}/members/{{userId}}", chat.change_member, MemberDocument, "Change a role",
          body=bodies.ChangeMember, errors=(403, 404, 409), units=135),
    route("DELETE", f"{CHATS}/{{id}}/members/{{userId}}", chat.remove_member, ChatDocument, "Remove a member",
          errors=(403, 404, 409), units=55),
    route("POST", f"{CHATS}/{{id}}/leave", chat.leave, Succeeded, "Leave a group", errors=(404, 409), units=55),
    route("POST", f"{CHATS}/{{id}}/mute", chat.mute, ChatDocument, "Mute until a time; null unmutes",
          body=bodies.MuteChat, errors=(404,), units=25),

    route("POST", MESSAGES, messages.post, MessageDocument, "Send a message",
          body=bodies.SendMessage, status=201, multipart="too", keyed=True, errors=(403, 404, 409), units=7),
    route("GET", MESSAGES, messages.history, HistoryDocument, "Messages of a chat, ascending by seq",
          query=messages.History, errors=(404,), units=10, units_per_item=1),
    route("GET", f"{MESSAGES}/{{id}}", messages.get, MessageDocument, "A message", errors=(404,), units=14),
    route("PATCH", f"{MESSAGES}/{{id}}", messages.edit, MessageDocument, "Edit one's message",
          body=bodies.EditMessage, errors=(403, 404, 409), units=30),
    route("DELETE", f"{MESSAGES}/{{id}}", messages.delete, MessageDocument, "Delete a message; the tombstone stays",
          errors=(403, 404), units=25),
    route("POST", f"{MESSAGES}/{{id}}/read", messages.mark_read, ReadDocument, "Read up to and with this message",
          errors=(404,), units=13),
    route("POST", f"{MESSAGES}/{{id}}/report", messages.report, Succeeded, "Report a message to the admins",
          body=bodies.ReportMessage, status=201, errors=(404, 409), units=20),

    route("POST", MEDIA, media.upload, UploadDocument, "Upload a file, to be sent as a message",
          body=media.UploadFile, status=201, multipart="only", errors=(409,), units=90),
    route("GET", f"{MEDIA}/{{id}}", media.show, bytes, "A file, or a part of it", query=media.Linked, public=True,
          errors=(401, 403, 404), units=12),
    route("GET", f"{MEDIA}/{{id}}/thumbnail", media.thumbnail, bytes, "A small picture of it", query=media.Linked,
          public=True, errors=(401, 403, 404), units=15),
    route("POST", f"{MEDIA}/{{id}}/link", media.link, LinkDocument, "A URL that needs no token, for ten minutes",
          status=201, errors=(404,), units=10),

    route("POST", "/api/v1/notifications/live-activity-sessions", streams.register_activity, Succeeded,
          "Register the runtime token of a Live Activity", body=bodies.RegisterActivity, status=201, bare=True,
          errors=(403, 404, 409), units=22),
    route("POST", STREAMS, streams.create, StreamDocument, "Schedule a stream", body=bodies.CreateStream, status=201,
          permission="streams.manage", errors=(403, 409), units=21),
    route("GET", STREAMS, streams.list_all, Page[StreamDocument], "The tenant's streams, newest first",
          query=streams.StreamQuery, units=8, units_per_item=0.3),
    route("GET", f"{STREAMS}/{{id}}", streams.get, StreamDocument, "A stream", errors=(404,), units=10),
    route("PATCH", f"{STREAMS}/{{id}}", streams.change, StreamDocument, "Another title or time",
          body=bodies.ChangeStream, errors=(403, 404, 409), units=33),
    *(route("POST", f"{STREAMS}/{{id}}/{verb}", streams.move, StreamDocument, summary, errors=(403, 404, 409), units=21)
      for verb, summary in (("ready", "The stream is ready"), ("start", "The stream has begun"),
                            ("end", "The stream is over"), ("cancel", "Call the stream off"))),
    route("POST", f"{STREAMS}/{{id}}/follow", streams.follow, StreamDocument, "Follow a stream, and join its chat",
          errors=(403, 404), units=25),
    route("POST", f"{STREAMS}/{{id}}/unfollow", streams.unfollow, StreamDocument, "Stop following, and leave its chat",
          errors=(403, 404), units=25),

    *(route(method, f"{prefix}/notifications{path}", handler, answer, summary, negotiated=True, **options)
      for prefix in ("/api/v1", *(path.rstrip("/") for path in dialects.paths()))
      for method, path, handler, answer, summary, options in (
          ("POST", "", notifications.create, "Document", "Send a notification",
           {"body": "Create", "status": 201, "keyed": True, "errors": (403, 404, 409), "units": 31}),
          ("GET", "", notifications.list_box, "Page", "One's notifications, newest first",
           {"query": notifications.NotificationQuery, "units": 10, "units_per_item": 0.9}),
          ("GET", "/unread-count", notifications.unread_count, notifications.Count, "How many are unread", {"units": 11}),
          ("POST", "/read-all", notifications.read_all, notifications.Count, "Mark all read", {"units": 20}),
          ("GET", "/{id}", notifications.get, "Document", "A notification", {"errors": (404,), "units": 11}),
          ("DELETE", "/{id}", notifications.delete, "Document", "Delete a notification", {"errors": (404,), "units": 26}),
          ("POST", "/{id}/read", notifications.read, "Document", "Mark a notification read",
           {"errors": (403, 404), "units": 17}),
      )),
    *(route(method, f"{prefix}/templates{path}", handler, answer, summary, negotiated=True, permission="templates.manage",
            **options)
      for prefix in TEMPLATE_PATHS
      for method, path, handler, answer, summary, options in (
          ("POST", "", templates.create, TemplateDocument, "Make a template",
           {"body": bodies.CreateTemplate, "status": 201, "errors": (403, 404, 409), "units": 14}),
          ("GET", "", templates.list_all, Page[TemplateDocument], "The tenant's templates",
           {"query": Paging, "errors": (403,), "units": 10, "units_per_item": 0.1}),
          ("GET", "/{key}", templates.get, TemplateDocument, "A template", {"errors": (403, 404), "units": 8}),
          ("PATCH", "/{key}", templates.change, TemplateDocument, "Change a template",
           {"body": bodies.ChangeTemplate, "errors": (403, 404), "units": 14}),
          ("DELETE", "/{key}", templates.remove, TemplateDocument, "Delete a template", {"errors": (403, 404), "units": 14}),
          ("POST", "/{key}/preview", templates.preview, PreviewDocument, "Fill a template, sending nothing",
           {"body": bodies.PreviewTemplate, "errors": (403, 404), "units": 15}),
      )),

    route("GET", CREDITS, credits.balance, BalanceDocument, "One's balance", units=10),
    route("GET", f"{CREDITS}/transactions", credits.transactions, Page[CreditDocument],
          "What went in and out of one's account, newest first", query=Paging, units=8, units_per_item=0.12),
    route("POST", f"{CREDITS}/grants", credits.grant, BalanceDocument, "Grant credits from the issuing account",
          body=bodies.Grant, status=201, keyed=True, permission="credits.grant", errors=(403, 404, 409), units=29),
    route("POST", f"{ADMIN}/credits/transactions/{{id}}/reverse", credits.reverse, Reversal,
          "Give back what a transaction moved", status=201, permission="admin", errors=(403, 404, 409), units=40),

    route("POST", DEVICES, devices.register, DeviceDocument, "Register a device, or its new token",
          body=bodies.RegisterDevice, status=201, also_200=True, errors=(409,), units=15),
    route("GET", DEVICES, devices.list_mine, Page[DeviceDocument], "One's devices", query=Paging,
          units=9, units_per_item=0.1),
    route("DELETE", f"{DEVICES}/{{deviceId}}", devices.remove, DeviceDocument, "Forget a device", errors=(404,), units=15),

    *(route("POST", f"{ADMIN}/users/{{id}}/{verb}", administration.administer, UserDocument, summary,
            query=administration.Confirm, permission="admin", errors=(403, 404, 409), units=29)
      for verb, summary in (("disable", "Disable an account"), ("enable", "Enable an account"),
                            ("ban", "Ban a user"), ("unban", "Lift a ban"), ("sign-out", "Sign out everywhere"))),
    route("DELETE", f"{ADMIN}/users/{{id}}", administration.delete, Succeeded, "Delete a user, like they themselves could",
          query=administration.Confirm, permission="admin", errors=(403, 404, 409), units=31),
    route("POST", f"{ADMIN}/users/{{id}}/export", administration.export, Lines,
          "All that is kept of a user, a JSON document a line", permission="admin", errors=(403, 404), units=4000),
    route("GET", f"{ADMIN}/audit", administration.audit, Page[AuditDocument], "What admins did, newest first",
          query=Paging, permission="admin", errors=(403,), units=10, units_per_item=0.1),
    route("POST", f"{ADMIN}/users/{{id}}/reset-link", administration.reset_link, administration.ResetLinkDocument,
          "A one-time link that sets a password", status=201, permission="admin", errors=(403, 404), units=15),
    route("GET", f"{ADMIN}/tenant", administration.tenant, administration.TenantSettingsDocument, "What the tenant sets",
          permission="admin", errors=(403,), units=13),
    route("PATCH", f"{ADMIN}/tenant", administration.change_tenant, administration.TenantSettingsDocument,
          "Set who may register, and how the app calls its Live Activity", body=administration.ChangeTenant,
          permission="admin", errors=(403,), units=18),
    route("POST", f"{ADMIN}/invitations", administration.invite, administration.TokenDocument,
          "A token with which one account may be made", body=administration.Invite, status=201, permission="admin",
          errors=(403,), units=10),
    route("GET", f"{ADMIN}/push/dead-letters", devices.dead_letters, Page[DeliveryDocument],
          "Pushes that were given up, newest first", query=Paging, permission="admin", errors=(403,),
          units=10, units_per_item=0.1),
    route("POST", f"{ADMIN}/push/dead-letters/{{number}}/retry", devices.retry, Succeeded, "Try a push again",
          permission="admin", errors=(403, 404), units=20),
    route("GET", f"{ADMIN}/push/deliveries", devices.deliveries, Page[DeliveryDocument],
          "What became of a user's pushes, newest first", query=devices.Deliveries, permission="admin", errors=(403, 404),
          units=12, units_per_item=0.1),
    route("GET", f"{ADMIN}/nodes", nodes.list_all, Page[NodeDocument], "What the processes that serve do",
          permission="admin", errors=(403,), units=10),
    route("GET", f"{ADMIN}/chats", chat.search, Page[ChatFactsDocument], "Find the tenant's chats by name or id",
          query=chat.Search, permission="admin", errors=(403,), units=10, units_per_item=0.2),
    route("POST", f"{ADMIN}/broadcasts", broadcasts.send, BroadcastDocument,
          "Tell everybody something, or see how many would be told", body=bodies.SendBroadcast, status=201,
          also_200=True, keyed=True, permission="admin", errors=(403, 409), units=30),
    route("GET", f"{ADMIN}/broadcasts", broadcasts.list_all, Page[BroadcastDocument], "Broadcasts, newest first",
          query=Paging, permission="admin", errors=(403,), units=9, units_per_item=0.1),
    route("POST", f"{ADMIN}/webhooks", webhooks.create, NewWebhookDocument, "Tell a backend of one's own what happens",
          body=bodies.CreateWebhook, status=201, permission="admin", errors=(403, 409), units=20),
    route("GET", f"{ADMIN}/webhooks", webhooks.list_all, Page[WebhookDocument], "The tenant's webhooks, newest first",
          query=Paging, permission="admin", errors=(403,), units=9, units_per_item=0.1),
    route("PATCH", f"{ADMIN}/webhooks/{{id}}", webhooks.change, WebhookDocument, "Another address, other events, or none",
          body=bodies.ChangeWebhook, permission="admin", errors=(403, 404), units=20),
    route("DELETE", f"{ADMIN}/webhooks/{{id}}", webhooks.remove, Succeeded, "Forget a webhook, and what it was to be told",
          permission="admin", errors=(403, 404), units=20),
    route("GET", f"{ADMIN}/webhooks/{{id}}/calls", webhooks.calls, Page[WebhookCallDocument],
          "What a webhook was told, newest first", query=Paging, permission="admin", errors=(403, 404),
          units=10, units_per_item=0.1),
    route("POST", f"{ADMIN}/webhooks/{{id}}/calls/{{number}}/retry", webhooks.retry, Succeeded, "Make a call again",
          permission="admin", errors=(403, 404), units=20),
    route("GET", f"{ADMIN}/reports", administration.reports, Page[ReportDocument], "Reported messages, newest first",
          query=Paging, permission="admin", errors=(403,), units=9, units_per_item=0.1),
]
# fmt: on
