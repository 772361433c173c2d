"""Engine.IO and WebSocket: one synchronous writer per connection."""
