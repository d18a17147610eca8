"""Listening sockets: bound once, kept over a reload, passed from process to process."""

import socket
from dataclasses import replace

import pytest

from gateway.config import Listen
from gateway.sockets import Sockets
from tests.ports import free_ports


@pytest.fixture
def listen() -> Listen:
    one, two, three, four = (("127.0.0.1", port) for port in free_ports(4))
    return Listen(submission=(one,), submissions=(two,), web=three, return_path=four)


def reached(address: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(address, timeout=5):
            return True
    except OSError:
        return False


def test_an_address_that_stays_keeps_its_socket(listen: Listen) -> None:
    before = Sockets.bound(listen)
    [other] = free_ports(1)
    after = Sockets.bound(replace(listen, web=("127.0.0.1", other)), before)
    assert after.submission == before.submission and after.submissions == before.submissions
    before.close(but=after)
    assert reached(listen.submission[0]) and reached(("127.0.0.1", other))
    assert not reached(listen.web)
    after.close()
    assert not reached(listen.submission[0])


def test_an_address_may_change_its_purpose(listen: Listen) -> None:
    before = Sockets.bound(listen)
    after = Sockets.bound(replace(listen, submission=listen.submissions, submissions=listen.submission), before)
    before.close(but=after)
    assert reached(listen.submission[0]) and reached(listen.submissions[0])
    after.close()


def test_what_cannot_be_bound_leaves_all_as_it_was(listen: Listen) -> None:
    before = Sockets.bound(listen)
    [free] = free_ports(1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        wanted = replace(listen, submission=(("127.0.0.1", free),), web=taken.getsockname())
        with pytest.raises(OSError, match=r"listen\.web: 127\.0\.0\.1:\d+ cannot be listened on: .*set another port"):
            Sockets.bound(wanted, before)
    assert not reached(("127.0.0.1", free)), "what was bound on the way is closed again"
    assert all(reached(address) for _, address, _ in before)
    before.close()


def test_sockets_pass_to_another_process_and_are_held_once(listen: Listen) -> None:
    sent = Sockets.bound(listen)
    have = Sockets.bound(replace(listen, web=("127.0.0.1", 0)), sent)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        names, descriptors = sent.packed()
        socket.send_fds(ours, [names], descriptors)
        said, received, _, _ = socket.recv_fds(theirs, 65_536, 100)
    got = Sockets.unpacked(said, received, have)
    assert got.submission == have.submission, "the one that is open already"
    assert got.web[listen.web] is not sent.web[listen.web]
    sent.close(but=got)
    have.close(but=got)
    assert reached(listen.web) and reached(listen.submission[0])
    got.close()
    assert not reached(listen.web)


def test_sockets_of_a_service_manager_come_first(listen: Listen) -> None:
    with socket.create_server(listen.web) as opened:
        made = Sockets.bound(listen, inherited=[opened])
        assert made.web[listen.web] is opened
        made.close()
