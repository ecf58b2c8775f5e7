"""MySQL and MariaDB, by PyMySQL. `connector` says what becomes of each call; begin there."""

from remediator.connectors.mysql.connector import EXECUTE, KILL, KIND, QUERY, Mysql, MysqlSettings

__all__ = ["EXECUTE", "KILL", "KIND", "QUERY", "Mysql", "MysqlSettings"]
