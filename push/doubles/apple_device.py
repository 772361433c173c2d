"""A model of iPhones and of what they show of streams: Live Activities, started by a push, updated by token or by channel.

https://developer.apple.com/documentation/activitykit/starting-and-updating-live-activities-with-activitykit-push-notifications
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

FIRST_WITH_CHANNELS = 18


@dataclass
class ShownActivity:
    """What stands on a lock screen for a stream."""

    stream: str
    stamp: int
    state: Any
    # The broadcast channel that it listens to; None where it has a token of its own.
    channel: str | None
    ended: bool = False

    def receive(self, aps: dict[str, Any]) -> None:
        """An update that is not newer is ignored; an end is not, but nothing comes after it."""
        if self.ended or (aps["event"] == "update" and aps["timestamp"] <= self.stamp):
            return
        self.stamp, self.state = aps["timestamp"], aps["content-state"]
        self.ended = aps["event"] == "end"


@dataclass
class AppleDevice:
    """``on_token`` is called where the app gets a token for an activity that it has to register."""

    start_token: str
    ios: int
    on_token: Callable[["AppleDevice", ShownActivity], None] = lambda device, activity: None
    online: bool = True
    # By stream.
    activities: dict[str, ShownActivity] = field(default_factory=dict)
    # Start pushes received by stream; duplicates do not start another activity.
    starts: dict[str, int] = field(default_factory=dict)

    @property
    def channels(self) -> set[str]:
        """Those that it listens to."""
        return {each.channel for each in self.activities.values() if each.channel is not None and not each.ended}

    def receive(self, channel: str, aps: dict[str, Any]) -> None:
        """What was sent over a channel."""
        if self.online:
            for activity in self.activities.values():
                if activity.channel == channel:
                    activity.receive(aps)

    def start(self, aps: dict[str, Any]) -> None:
        stream, channel = aps["attributes"]["streamId"], aps.get("input-push-channel")
        if channel is not None and self.ios < FIRST_WITH_CHANNELS:
            # Nothing is shown at all.
            return
        self.starts[stream] = self.starts.get(stream, 0) + 1
        if stream in self.activities:
            return
        activity = self.activities[stream] = ShownActivity(stream, aps["timestamp"], aps["content-state"], channel)
        if channel is None and (self.ios < FIRST_WITH_CHANNELS or aps.get("input-push-token") == 1):
            self.on_token(self, activity)
