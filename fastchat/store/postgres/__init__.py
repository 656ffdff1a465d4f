"""The store in a PostgreSQL database, for several nodes. Needs asyncpg."""
