"""A real MariaDB on loopback: one server for many tests, and a database of its own for each."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.rig.components import program
from tests.rig.processes import Child, Program, scratch, start

LOGIN, PASSWORD = "remediator", "canary-mysql"
_SMALL = (
    "--innodb-log-file-size=4M",
    "--innodb-buffer-pool-size=24M",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-flush-method=nosync",
    "--innodb-doublewrite=0",
    "--skip-name-resolve",
)


@dataclass
class MariaDB:
    """A running MariaDB; root comes in by its socket of the network without a password."""

    child: Child
    _numbers: Iterator[int] = field(default_factory=itertools.count, repr=False)
    _root: list[Any] = field(default_factory=list, repr=False)

    @property
    def port(self) -> int:
        """Its port on loopback."""
        return self.child.port

    def connected(self, database: str = "", user: str = "root", password: str = "") -> Any:
        """A bare connection, which commits by itself."""
        import pymysql

        return pymysql.connect(
            host="127.0.0.1",
            port=self.port,
            user=user,
            password=password,
            database=database or None,
            autocommit=True,
            ssl_disabled=True,  # or all authorities of the machine are read each time
        )

    def run(self, *statements: str, database: str = "") -> list[tuple[Any, ...]]:
        """Statements as root; the rows of the last."""
        if not self._root:
            self._root.append(self.connected())
        with self._root[0].cursor() as cursor:
            cursor.execute(f"USE {database or 'mysql'}")
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def close(self) -> None:
        """Let go of the connection of `run`."""
        while self._root:
            self._root.pop().close()

    def fresh(self, *statements: str) -> str:
        """The name of a database of its own, after these statements in it."""
        name = f"story_{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        if statements:
            self.run(*statements, database=name)
        return name


@contextmanager
def running_mariadb() -> Iterator[MariaDB]:
    """Start one, with a login for the connector, and end it by its id. Nothing of it outlives the tests."""
    with scratch("mariadb") as folder:
        installer = ("mariadb-install-db", "--no-defaults", f"--datadir={folder}/data")
        _run(folder, *installer, "--auth-root-authentication-method=normal", "--skip-test-db", *_SMALL)

        def argv(port: int) -> list[str]:
            return [
                program("mariadb"),
                "--no-defaults",
                f"--datadir={folder}/data",
                f"--socket={folder}/socket",
                f"--pid-file={folder}/pid",
                "--bind-address=127.0.0.1",
                f"--port={port}",
                "--default-time-zone=+03:00",
                *_SMALL,
            ]

        with start(Program("mariadb", argv, unprivileged=True, is_ready=_greets), folder) as child:
            server = MariaDB(child)
            server.run(
                f"CREATE USER {LOGIN} IDENTIFIED BY '{PASSWORD}'",
                f"GRANT SELECT, INSERT, UPDATE, DELETE, PROCESS, CONNECTION ADMIN ON *.* TO {LOGIN}",
            )
            try:
                yield server
            finally:
                server.close()


def _run(folder: Path, *command: str) -> None:
    as_nobody = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    subprocess.run(command, cwd=folder, check=True, capture_output=True, **as_nobody)  # type: ignore[call-overload]


def _greets(port: int) -> bool:
    """Whether it says which version it is."""
    with socket.create_connection(("127.0.0.1", port), timeout=2) as link:
        return b"MariaDB" in link.recv(256)
