"""The ports that tests give to their servers: nobody else's, and free."""

import socket
import subprocess
import sys

import pytest

from tests.installation import ROOT
from tests.ports import BLOCKS, free_ports

HALF = BLOCKS.step // 2
"""Not all ports of a block: what an earlier test has not let go of yet may be in it."""


def test_another_process_is_given_others() -> None:
    mine = set(free_ports(HALF))
    program = f"from tests.ports import free_ports; print(*free_ports({HALF}))"
    said = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True).stdout
    theirs = set(map(int, said.split()))
    assert len(theirs) == len(mine) == HALF and not theirs & mine


def test_one_that_a_server_has_is_passed_over_and_where_all_are_taken_that_is_said() -> None:
    with socket.socket() as server:
        [port] = free_ports(1)
        server.bind(("127.0.0.1", port))
        server.listen()
        assert port not in free_ports(HALF) + free_ports(HALF)
        with pytest.raises(RuntimeError, match="left servers behind"):
            free_ports(BLOCKS.step - 1)
