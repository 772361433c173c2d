"""What keeps tests from depending on how fast a machine is: none is decided by a limit of rate or time but its own."""

# A bound on what would otherwise hang, far above what the slowest machine needs.
HANG_SECONDS = 120.0
NEVER = 10**6
# Settings of a server in a test: what a fast machine would run into …
UNLIMITED = {
    "max_sends_per_second": NEVER,
    "max_sends_at_once": NEVER,
    "max_deliveries_per_second": NEVER,
    "max_units_per_second": NEVER,
    "max_units_at_once": NEVER,
    "max_uploads_per_minute": NEVER,
    "max_decoder_seconds_at_once": NEVER,
    "max_groups_per_day": NEVER,
    "max_follows_per_minute": NEVER,
    "max_searches_per_second": NEVER,
    "max_body_seconds": NEVER,
    "max_upload_seconds": NEVER,
}
# … and a slow one.
UNHURRIED = {
    **UNLIMITED,
    "max_connects_per_second": NEVER,
    "max_connects_per_address": NEVER,
    "max_connects_at_once": NEVER,
    "max_connect_wait": NEVER,
    "max_head_seconds": NEVER,
    "max_search_wait": HANG_SECONDS,
    "max_unconnected": NEVER,
    "ping_timeout": NEVER,
    "database_timeout": HANG_SECONDS,
    "database_write_timeout": HANG_SECONDS,
}
