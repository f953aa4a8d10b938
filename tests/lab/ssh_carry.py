# SPDX-License-Identifier: Apache-2.0
"""A ProxyCommand: carries its standard streams to and from a socket in the file system."""

import os
import select
import socket
import sys

connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
here = connection.fileno()
ways = {0: here, here: 1}
while True:
    for source in select.select(list(ways), [], [])[0]:
        data = os.read(source, 1 << 16)
        if not data:
            sys.exit()
        while data:
            data = data[os.write(ways[source], data) :]
