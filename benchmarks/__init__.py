"""Programs that measure the service under load; they are no part of it."""
