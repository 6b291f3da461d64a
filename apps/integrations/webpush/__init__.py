"""Web Push to browsers: RFC 8030, encrypted by RFC 8291, identified by RFC 8292 (VAPID)."""
