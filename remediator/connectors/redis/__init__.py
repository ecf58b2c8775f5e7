"""Redis, by redis-py. `connector` says what becomes of each call; begin there."""

from remediator.connectors.redis.connector import INFO, KIND, READ, RUN, Redis, RedisSettings

__all__ = ["INFO", "KIND", "READ", "RUN", "Redis", "RedisSettings"]
