"""Celery forks its processes from one that may have used every client: a child gets connections, and answers, of its own."""

from __future__ import annotations

import json
import os
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from orderdrain.amazon.http import Http
from tests.building import open_services

#: Rounds in which parent and children ask at the same time: a shared socket would soon hand one the other's answer.
ROUNDS = 100


def test_parent_and_children_share_no_connection_and_get_no_answer_of_each_other(database_url, redis_url, tmp_path):
    """Two processes on one socket read each other's rows: an order would be written to the wrong account."""
    s = open_services(database_url, redis_url, tmp_path)
    http = Http()
    with echo() as url:
        before = connections(s, http, url)
        children = [forked(lambda: (connections(s, http, url), answers(s, http, url))) for _ in range(2)]
        own = answers(s, http, url)
        told = [finish() for finish in children]
        after = connections(s, http, url)
    s.db.close()

    assert before == after, "no child closed what belongs to its parent"
    everyones = [before, *(theirs for theirs, _ in told)]
    for name, places in {name: [theirs[name] for theirs in everyones] for name in before}.items():
        assert len(set(places)) == 3, f"each process has its own {name}"
    assert [own, *(right for _, right in told)] == [ROUNDS] * 3


def connections(s, http, url):
    """What the other side knows each of this process's connections by."""
    ((backend,),) = s.db.query("SELECT pg_backend_pid()")
    return {
        "Postgres session": backend,
        "Redis client": s.redis.client_id(),
        "HTTP connection": get(http, f"{url}/whoever").split()[1],
    }


def answers(s, http, url):
    """In how many rounds every answer was that to this process's question."""
    right = 0
    for number in range(ROUNDS):
        word = f"{os.getpid()}-{number}"
        ((row,),) = s.db.query("SELECT %s::text", (word,))
        right += (row, s.redis.echo(word), get(http, f"{url}/{word}").split()[0]) == (word, word.encode(), f"/{word}")
    return right


def get(http, url):
    with http.send("GET", url, headers={}, max_bytes=1000) as response:
        return response.read().decode()


def forked(work):
    """Does the work in a forked child; returns how to wait for what it returned."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(writing)

    def finish():
        with os.fdopen(reading) as pipe:
            result = json.loads(pipe.read() or "null")
        os.waitpid(pid, 0)
        return result

    return finish


@contextmanager
def echo():
    """Answers each request with its path and the port it came from, over connections that stay open."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            body = f"{self.path} {self.client_address[1]}".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
