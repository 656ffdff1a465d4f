"""What people cost beside messages: joins, logins, permissions and hooks."""
