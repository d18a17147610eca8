"""The shell: everything that touches a socket, a disk or a clock."""
