"""One story in which every route of REST is called once at least, and answered well."""

from typing import Any

from push.doubles.apns import TOPIC, Apple
from push.doubles.apple_connection import ApnsFault
from realtime.tokens import Refresh
from storage import logins
from storage.transaction import Command
from tests.conftest import Served
from tests.samples.recorder import Recorder
from tests.support.files import encoded
from tests.support.people import Api
from tests.support.pushing import due_now, quiet

USERS, CHATS, MESSAGES = "/api/v1/users", "/api/v2/chats", "/api/v2/messages"
MEDIA, STREAMS, ADMIN = "/api/v2/media", "/api/v1/streams", "/api/v1/admin"
PASSWORD, BETTER = "correct horse battery", "staple of a battery horse"
STARTS = "2030-06-01T20:00:00.000Z"
UNTIL = "2030-01-01T08:00:00.000Z"
EVERYTHING = ["admin", "platform.admin"]
ACTIVITY_TOKEN = "80f3a1c5" * 8


class Story:
    """Ann and Bob chat, Carol comes and goes, Root administers."""

    def __init__(self, server: Served, apple: Apple, hook: str) -> None:
        self.server = server
        self.apple = apple
        self.hook = hook
        self.recorder = Recorder()
        self.ask = self.recorder.ask

    async def run(self) -> dict[str, list[dict[str, Any]]]:
        make = self.server.people.make
        self.root = await make("Root", email="root@example.org", grant=EVERYTHING)
        self.ann, self.bob = await make("Ann", email="ann@example.org"), await make("Bob", email="bob@example.org")
        self.carol = await make("Carol", email="carol@example.org")
        await self.accounts()
        await self.users()
        await self.chats()
        await self.messages()
        await self.threads()
        await self.media()
        await self.moderation()
        await self.notifications()
        await self.templates()
        await self.streams()
        await self.credits()
        await self.devices()
        await self.webhooks()
        await self.administration()
        return self.recorder.requests

    async def accounts(self) -> None:
        auth, anonymous = "/api/v1/auth", self.server.people.anonymous
        account = {"email": "dora@example.org", "password": PASSWORD, "name": "Dora"}
        await self.ask(anonymous, f"POST {auth}/register", account)
        login = {"email": "dora@example.org", "password": PASSWORD}
        dora = await self.ask(anonymous, f"POST {auth}/login", login)
        dora = await self.ask(anonymous, f"POST {auth}/refresh", {"refreshToken": dora["refreshToken"]})
        me = Api(anonymous.session, anonymous.url, dora["accessToken"])
        await self.ask(me, f"POST {auth}/password", {"old": PASSWORD, "new": BETTER})
        link = await self.ask(self.root, f"POST {ADMIN}/users/{{id}}/reset-link", id=dora["user"]["id"])
        token = link["url"].rpartition("=")[2]
        await self.ask(anonymous, f"POST {auth}/reset", {"token": token, "password": PASSWORD})
        dora = await self.ask(anonymous, f"POST {auth}/login", login)
        await self.ask(anonymous, f"POST {auth}/logout", {"refreshToken": dora["refreshToken"]})

    async def users(self) -> None:
        ask, ann, root = self.ask, self.ann, self.root
        change = {"locale": "en", "timeZone": "Europe/Berlin", "quietHours": {"from": "22:00", "to": "07:00"}}
        await ask(ann, f"GET {USERS}/me")
        await ask(ann, f"PATCH {USERS}/me", change)
        await ask(ann, f"PUT {USERS}/me/avatar", file=encoded("PNG", (128, 128)))
        await ask(self.bob, f"GET {USERS}/{{id}}/avatar", id=ann.id)
        await ask(ann, f"DELETE {USERS}/me/avatar")
        await ask(ann, f"POST {USERS}/me/blocks", {"userId": self.carol.id})
        await ask(ann, f"GET {USERS}/me/blocks")
        await ask(ann, f"DELETE {USERS}/me/blocks/{{userId}}", userId=self.carol.id)
        await ask(ann, f"GET {USERS}", query="?query=bob")
        await ask(ann, f"GET {USERS}/{{id}}", id=self.bob.id)
        made = await ask(root, f"POST {USERS}", {"email": "erin@example.org", "name": "Erin"})
        await ask(root, f"PATCH {USERS}/{{id}}", {"name": "Erin of Support"}, id=made["id"])
        await ask(root, f"POST {USERS}/{{id}}/tokens", {"ttl": 3600}, id=made["id"])
        await ask(root, "POST /api/v1/tenants", {"name": "Another app"})
        await self.sessions()

    async def sessions(self) -> None:
        """Of a user with two logins."""
        frank, services = await self.server.people.make("Frank"), self.server.services
        for number in range(2):
            login = await services.database.write(Command(lambda tx: logins.add(tx, frank.user.pk, ttl=3600)))
            if number == 0:
                frank.token = services.tokens.issue(frank.user, ttl=3600, login=login)[0]
                assert services.tokens.issue_refresh(Refresh(login, 0))
        listed = await self.ask(frank, f"GET {USERS}/me/sessions")
        other = next(each for each in listed["items"] if not each["current"])
        await self.ask(frank, f"DELETE {USERS}/me/sessions/{{id}}", id=other["id"])
        await self.ask(frank, f"DELETE {USERS}/me/sessions")
        grace = await self.server.people.make("Grace")
        await self.ask(grace, f"POST {USERS}/me/export")
        await self.ask(grace, f"DELETE {USERS}/me")

    async def chats(self) -> None:
        ask, ann, bob, carol = self.ask, self.ann, self.bob, self.carol
        made = await ask(ann, f"POST {CHATS}", {"type": "group", "name": "Team", "memberIds": [bob.id]})
        self.chat = chat = made["_id"]
        await ask(ann, f"GET {CHATS}")
        await ask(ann, f"GET {CHATS}/{{id}}", id=chat)
        await ask(ann, f"PATCH {CHATS}/{{id}}", {"name": "Team Berlin", "historyVisible": "all"}, id=chat)
        await ask(ann, f"POST {CHATS}/{{id}}/members", {"userIds": [carol.id]}, id=chat)
        await ask(ann, f"GET {CHATS}/{{id}}/members", id=chat)
        member = f"{CHATS}/{{id}}/members/{{userId}}"
        await ask(ann, f"PATCH {member}", {"role": "admin"}, id=chat, userId=bob.id)
        await ask(ann, f"DELETE {member}", id=chat, userId=carol.id)
        invite = await ask(ann, f"POST {CHATS}/{{id}}/invite", id=chat)
        await ask(carol, "POST /api/v2/invites/{token}", token=invite["token"])
        await ask(ann, f"DELETE {CHATS}/{{id}}/invite", id=chat)
        await ask(bob, f"POST {CHATS}/{{id}}/mute", {"level": "mentions", "until": UNTIL}, id=chat)
        await ask(carol, f"POST {CHATS}/{{id}}/leave", id=chat)
        await ask(ann, f"GET {CHATS}/{{id}}/events", id=chat)
        await ask(ann, f"DELETE {CHATS}/{{id}}", id=await ann.group(bob, name="Old"))

    async def messages(self) -> None:
        ask, ann, bob = self.ask, self.ann, self.bob
        text = {
            "type": "text",
            "chatId": self.chat,
            "content": "The new icons are ready.",
            "clientMessageId": "draft-1",
        }
        sent = await ask(ann, f"POST {MESSAGES}", text, sample="text")
        direct = {"type": "text", "targetUserId": bob.id, "content": "Lunch at one?"}
        await ask(ann, f"POST {MESSAGES}", direct, sample="direct")
        await ask(ann, f"PATCH {MESSAGES}/{{id}}", {"content": "The new icons are in the folder."}, id=sent["_id"])
        await ask(bob, f"POST {MESSAGES}/{{id}}/read", id=sent["_id"])
        reaction = f"{MESSAGES}/{{id}}/reactions"
        await ask(bob, f"PUT {reaction}/{{key}}", id=sent["_id"], key=":heart:")
        await ask(ann, f"GET {reaction}", query="?key=:heart:", id=sent["_id"])
        await ask(ann, f"GET {MESSAGES}/{{id}}", id=sent["_id"])
        await ask(bob, f"DELETE {reaction}/{{key}}", id=sent["_id"], key=":heart:")
        await ask(ann, f"PUT {MESSAGES}/{{id}}/pin", {"until": UNTIL}, id=sent["_id"])
        await ask(ann, f"GET {CHATS}/{{id}}/pins", id=self.chat)
        await ask(ann, f"DELETE {MESSAGES}/{{id}}/pin", id=sent["_id"])
        await ask(ann, f"GET {MESSAGES}", query=f"?chatId={self.chat}&limit=2")
        await ask(ann, f"GET {MESSAGES}/search", query=f"?query=icons&chatId={self.chat}")
        wrong = await ann.send(self.chat, "in the wrong chat")
        await ask(ann, f"DELETE {MESSAGES}/{{id}}", id=wrong["_id"])
        self.message = sent["_id"]

    async def threads(self) -> None:
        ask, bob, root = self.ask, self.bob, self.message
        reply = {
            "type": "text", "chatId": self.chat, "threadId": root, "content": "Thank you, @Bob will check them.",
            "mentions": [bob.id],
        }  # fmt: skip
        await ask(self.ann, f"POST {MESSAGES}", reply, sample="reply")
        await ask(bob, f"POST {MESSAGES}/{{id}}/thread/follow", id=root)
        await ask(bob, "GET /api/v2/threads")
        await ask(bob, "GET /api/v2/mentions")
        await ask(bob, f"POST {MESSAGES}/{{id}}/thread/unfollow", id=root)

    async def media(self) -> None:
        ask, ann, picture = self.ask, self.ann, encoded("PNG", (64, 48))
        await ask(
            ann,
            f"POST {MESSAGES}",
            {"type": "media", "chatId": self.chat, "content": "The logo"},
            file=picture,
            sample="media",
        )
        made = await ask(ann, f"POST {MEDIA}", file=picture)
        await ann.post(MESSAGES, {"type": "media", "chatId": self.chat, "file": made["id"]})
        await ask(ann, f"GET {MEDIA}/{{id}}", id=made["id"])
        await ask(ann, f"GET {MEDIA}/{{id}}/thumbnail", id=made["id"])
        await ask(ann, f"POST {MEDIA}/{{id}}/link", id=made["id"])

    async def moderation(self) -> None:
        ask, ann, root, carol = self.ask, self.ann, self.root, self.carol
        await ann.post(f"{CHATS}/{self.chat}/members", {"userIds": [carol.id]})
        rude = await carol.send(self.chat, "Buy cheap coins here")
        member = f"{CHATS}/{{id}}/members/{{userId}}"
        until = {"until": UNTIL, "reason": "spam"}
        await ask(self.bob, f"POST {MESSAGES}/{{id}}/report", {"reason": "spam"}, id=rude["_id"])
        reports = await ask(root, f"GET {ADMIN}/reports")
        number = reports["items"][0]["id"]
        await ask(root, f"GET {ADMIN}/reports/{{number}}", number=number)
        await ask(root, f"PATCH {ADMIN}/reports/{{number}}", {"state": "dismissed"}, number=number)
        await ask(ann, f"POST {member}/silence", until, id=self.chat, userId=carol.id)
        await ask(ann, f"DELETE {member}/silence", id=self.chat, userId=carol.id)
        await ask(ann, f"POST {member}/ban", {**until, "delete": "hour"}, id=self.chat, userId=carol.id)
        await ask(ann, f"GET {CHATS}/{{id}}/bans", id=self.chat)
        await ask(ann, f"DELETE {member}/ban", id=self.chat, userId=carol.id)
        lists = f"{ADMIN}/word-lists"
        await ask(root, f"PUT {lists}/{{name}}", {"words": ["cheap coins"], "action": "flag"}, name="spam")
        await ask(root, f"GET {lists}/{{name}}", name="spam")
        await ask(root, f"GET {lists}")
        await ask(root, f"DELETE {lists}/{{name}}", name="spam")

    def bodies(self) -> dict[str, dict[str, Any]]:
        """Of a notification for Ann, in each dialect."""
        user = self.ann.user
        return {
            "envelope": {
                "userId": user.id, "type": "system", "category": "live_stream", "title": "Starting soon",
                "message": "The stream starts in ten minutes.", "metadata": {"streamId": "42"},
            },
            "laravel": {
                "user_id": user.number, "type": "info", "title": "New message", "message": "You have a new message",
                "action_url": "/chats", "metadata": {"from": "Bob"},
            },
            "template": {
                "templateKey": "ISSUED", "userId": user.uuid, "tenantId": user.tenant, "entityType": "delegation",
                "entityId": "7", "placeholders": {"number": "ABC123"},
            },
        }  # fmt: skip

    async def notifications(self) -> None:
        template = {
            "tenantId": self.root.user.tenant, "key": "ISSUED", "category": "Delegations", "title": "Delegation issued",
            "message": "Delegation {{ number }} was issued to you.",
        }  # fmt: skip
        assert (await self.root.post("/v1/templates", template)).status == 201
        for prefix in ("/api/v1", "/v1", "/notification/v1"):
            path = f"{prefix}/notifications"
            bodies = self.bodies()
            for dialect in bodies if prefix.startswith("/api") else ("template",):
                await self.notification(path, dialect, bodies[dialect])
        await self.root.delete("/v1/templates/ISSUED")

    async def notification(self, path: str, dialect: str, body: Any) -> None:
        ask, ann = self.ask, self.ann
        made = await ask(self.root, f"POST {path}", body, dialect=dialect)
        await ask(ann, f"GET {path}", query="?limit=1", dialect=dialect)
        await ask(ann, f"GET {path}/unread-count", dialect=dialect)
        await ask(ann, f"GET {path}/{{id}}", id=made["id"], dialect=dialect)
        await ask(ann, f"POST {path}/{{id}}/read", id=made["id"], dialect=dialect)
        await ask(ann, f"POST {path}/read-all", dialect=dialect)
        await ask(ann, f"DELETE {path}/{{id}}", id=made["id"], dialect=dialect)

    async def templates(self) -> None:
        ask, root = self.ask, self.root
        for prefix in ("/v1", "/notification/v1"):
            path = f"{prefix}/templates"
            body = {
                "tenantId": root.user.tenant, "key": "WELCOME", "category": "Onboarding", "title": "Welcome",
                "message": "Hello {{ name }}", "locales": {"tr": {"message": "Merhaba {{ name }}"}},
            }  # fmt: skip
            await ask(root, f"POST {path}", body)
            await ask(root, f"GET {path}")
            await ask(root, f"GET {path}/{{key}}", key="WELCOME")
            await ask(root, f"PATCH {path}/{{key}}", {"title": "Welcome aboard"}, key="WELCOME")
            preview = {"placeholders": {"name": "Ann"}, "locale": "tr"}
            await ask(root, f"POST {path}/{{key}}/preview", preview, key="WELCOME")
            await ask(root, f"DELETE {path}/{{key}}", key="WELCOME")

    async def streams(self) -> None:
        ask, ann, root = self.ask, self.ann, self.root
        made = await ask(root, f"POST {STREAMS}", {"title": "The match", "startsAt": STARTS, "audience": "open"})
        one = {"id": made["id"]}
        await ask(ann, f"GET {STREAMS}")
        await ask(ann, f"GET {STREAMS}/{{id}}", **one)
        await ask(root, f"PATCH {STREAMS}/{{id}}", {"title": "The final match"}, **one)
        await ask(ann, f"POST {STREAMS}/{{id}}/follow", **one)
        activity = {
            "streamId": made["id"], "deviceId": "anns-phone", "liveActivityToken": ACTIVITY_TOKEN, "activityId": "7F1B",
        }  # fmt: skip
        await ask(ann, "POST /api/v1/notifications/live-activity-sessions", activity)
        for verb in ("ready", "start", "end"):
            await ask(root, f"POST {STREAMS}/{{id}}/{verb}", **one)
        await ask(ann, f"POST {STREAMS}/{{id}}/unfollow", **one)
        other = (await root.post(STREAMS, {"title": "The replay", "startsAt": STARTS})).json["data"]
        await ask(root, f"POST {STREAMS}/{{id}}/cancel", id=other["id"])

    async def credits(self) -> None:
        ask, ann, root = self.ask, self.ann, self.root
        await ask(root, "POST /api/v1/credits/grants", {"userId": ann.id, "amount": 100, "reason": "Welcome"})
        transfer = {"type": "creditTransfer", "chatId": self.chat, "creditTransfer": {"amount": 5}}
        direct = {**transfer, "targetUserId": self.bob.id}
        del direct["chatId"]
        await ask(ann, f"POST {MESSAGES}", direct, sample="creditTransfer")
        await ask(ann, "GET /api/v1/credits")
        listed = await ask(ann, "GET /api/v1/credits/transactions")
        moved = next(each for each in listed["items"] if each["amount"] in (5, -5))
        await ask(root, f"POST {ADMIN}/credits/transactions/{{id}}/reverse", id=moved["id"])

    async def devices(self) -> None:
        ask, bob, root = self.ask, self.bob, self.root
        device = {
            "deviceId": "bobs-phone", "platform": "ios", "pushToken": "0a1b2c3d" * 8, "environment": "sandbox",
            "bundleId": TOPIC,
        }  # fmt: skip
        await ask(bob, "POST /api/v1/devices", device)
        await ask(bob, "GET /api/v1/devices")
        await ask(bob, "GET /api/v1/push/config")
        self.apple.plan = lambda push: ApnsFault("status", 400, "BadTopic")
        await self.ann.post(MESSAGES, {"type": "text", "targetUserId": bob.id, "content": "Are you there?"})
        await due_now(self.server)
        await quiet(self.server)
        letters = f"{ADMIN}/push/dead-letters"
        found = await ask(root, f"GET {letters}")
        await ask(root, f"POST {letters}/{{number}}/retry", number=found["items"][0]["id"])
        await quiet(self.server)
        await ask(root, f"GET {ADMIN}/push/deliveries", query=f"?userId={bob.id}")
        await ask(bob, "DELETE /api/v1/devices/{deviceId}", deviceId="bobs-phone")

    async def webhooks(self) -> None:
        ask, root, hooks = self.ask, self.root, f"{ADMIN}/webhooks"
        made = await ask(root, f"POST {hooks}", {"url": f"{self.hook}/gone", "events": ["message:new"]})
        await ask(root, f"GET {hooks}")
        await self.ann.send(self.chat, "Has anybody seen the webhook?")
        calls: dict[str, Any] = {"items": []}
        while not calls["items"] or calls["items"][0]["state"] == "waiting":
            calls = (await root.get(f"{hooks}/{made['id']}/calls")).json["data"]
        await ask(root, f"GET {hooks}/{{id}}/calls", id=made["id"])
        await ask(root, f"POST {hooks}/{{id}}/calls/{{number}}/retry", id=made["id"], number=calls["items"][0]["id"])
        await ask(root, f"PATCH {hooks}/{{id}}", {"active": False}, id=made["id"])
        await ask(root, f"DELETE {hooks}/{{id}}", id=made["id"])

    async def administration(self) -> None:
        ask, root, carol = self.ask, self.root, self.carol
        for verb in ("disable", "enable", "ban", "unban", "sign-out"):
            await ask(root, f"POST {ADMIN}/users/{{id}}/{verb}", id=carol.id)
        await ask(root, f"POST {ADMIN}/users/{{id}}/export", id=carol.id)
        await ask(root, f"GET {ADMIN}/chats", query="?query=team")
        await ask(root, f"GET {ADMIN}/tenant")
        await ask(root, f"PATCH {ADMIN}/tenant", {"liveActivity": None})
        await ask(root, f"POST {ADMIN}/invitations", {})
        broadcast = {"title": "Maintenance", "message": "Tonight from ten to eleven.", "clientMessageId": "tonight"}
        await ask(root, f"POST {ADMIN}/broadcasts", broadcast)
        await ask(root, f"GET {ADMIN}/broadcasts")
        await ask(root, f"GET {ADMIN}/nodes")
        await ask(root, f"GET {ADMIN}/nodes/history")
        await ask(root, f"GET {ADMIN}/audit", query="?limit=2")
        await ask(root, f"DELETE {ADMIN}/users/{{id}}", id=carol.id)
