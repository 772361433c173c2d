"""Hub, subscriptions, sessions and resuming: how each event reaches each socket once, in order."""
