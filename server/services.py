"""What handlers may reach: one object of each kind in a process."""

from dataclasses import dataclass, field

from push.push_channels import PushChannels
from push.webhooks import WebhookCalls
from push.worker import Worker
from realtime.accounts import Accounts
from realtime.activities import Activities
from realtime.administration import Administration
from realtime.avatars import Avatars
from realtime.blocks import Blocks
from realtime.broadcasts import Broadcasts
from realtime.chat import Chats
from realtime.cluster.rates import Rates
from realtime.credits import Credits
from realtime.devices import Devices
from realtime.due import DueWork
from realtime.erasure import Erasure
from realtime.fanout.budget import Budget
from realtime.fanout.hub import Hub
from realtime.fanout.session import Sessions
from realtime.history import History
from realtime.indexing import Indexer
from realtime.invites import Invites
from realtime.logins import Logins
from realtime.media import MediaService
from realtime.mentions import Mentions
from realtime.messages import Messages
from realtime.namespace import ChatNamespace
from realtime.notifications import Notifications
from realtime.passwords import Passwords
from realtime.pins import Pins
from realtime.presence_watch import PresenceWatch
from realtime.reactions import Reactions
from realtime.reports import Reports
from realtime.sanctions import Sanctions
from realtime.schema.limits import Limits
from realtime.search import MessageSearch
from realtime.stream_watch import StreamWatch
from realtime.streams import Streams
from realtime.templates import Templates
from realtime.threads import Threads
from realtime.tokens import Tokens
from realtime.transport.protocol import Server
from realtime.typing_status import TypingStatus
from realtime.viewers import Viewers
from realtime.webhooks import Webhooks
from realtime.word_lists import WordLists
from server.addresses import Addresses
from server.cluster import Cluster
from server.connections import Connections
from server.figure_history import FigureHistory
from server.form import Uploads
from server.origins import Hosts, Origins
from server.readiness import Readiness
from server.settings import Settings
from storage.database import Database
from storage.latencies import LatencyHistogram
from storage.types import now


@dataclass(slots=True)
class Services:
    """Built by ``server/bootstrap.py``."""

    settings: Settings
    limits: Limits
    database: Database
    tokens: Tokens
    accounts: Accounts
    avatars: Avatars
    logins: Logins
    passwords: Passwords
    blocks: Blocks
    administration: Administration
    hub: Hub
    sessions: Sessions
    chats: Chats
    invites: Invites
    sanctions: Sanctions
    messages: Messages
    history: History
    reactions: Reactions
    threads: Threads
    pins: Pins
    reports: Reports
    word_lists: WordLists
    search: MessageSearch
    indexer: Indexer
    mentions: Mentions
    due_work: DueWork
    media: MediaService
    notifications: Notifications
    streams: Streams
    activities: Activities
    templates: Templates
    credits: Credits
    broadcasts: Broadcasts
    webhooks: Webhooks
    webhook_calls: WebhookCalls
    erasure: Erasure
    devices: Devices
    worker: Worker
    push_channels: PushChannels | None
    presence_watch: PresenceWatch
    stream_watch: StreamWatch
    viewers: Viewers
    typing: TypingStatus
    namespace: ChatNamespace
    socketio: Server
    origins: Origins
    hosts: Hosts
    cluster: Cluster
    addresses: Addresses
    connections: Connections
    rates: Rates
    budget: Budget
    uploads: Uploads
    readiness: Readiness
    figure_history: FigureHistory
    # Requests that this process has answered, without sockets and long polls.
    answers: LatencyHistogram = field(default_factory=LatencyHistogram)
    # The URL at which this process listens, once it does.
    address: str = ""
    started_at: int = field(default_factory=now)

    @property
    def public_url(self) -> str:
        """How clients reach the server."""
        return (self.settings.public_url or self.address).rstrip("/")
