"""A deadline that the client holds by itself, for a server whose process stands still.

`statement_timeout` is the server's, `tcp_user_timeout` needs a peer that acknowledges nothing; a stopped backend
acknowledges everything and answers nothing. So a thread shuts the connection's socket down when time is up, and the
call that waits on it fails at once.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from threading import Timer

import psycopg2
from psycopg2.extensions import connection


@contextmanager
def ends_within(opened: connection, seconds: float) -> Iterator[None]:
    """Whatever still waits for the server after that time fails; so does all later use of the connection."""
    is_over = False

    def cut() -> None:
        nonlocal is_over
        is_over = True
        _shut_down(opened)

    timer = Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except psycopg2.Error as error:
        if is_over:
            raise psycopg2.OperationalError(f"no answer within {seconds:g} s") from error
        raise
    finally:
        timer.cancel()


def _shut_down(opened: connection) -> None:
    """Through a copy of the descriptor: the connection itself belongs to the thread that waits."""
    try:
        with closing(socket.socket(fileno=os.dup(opened.fileno()))) as copy:
            copy.shutdown(socket.SHUT_RDWR)
    except (psycopg2.Error, OSError):
        return  # closed meanwhile, by its owner or by the server
