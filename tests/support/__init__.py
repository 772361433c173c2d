"""What tests share: a user, a server process, doubles of Redis, APNs and a proxy, files, limits."""
