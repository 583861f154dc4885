#!/opt/patchgrid/bin/python
"""The health check of the worker image: whether a worker of this container sent a heartbeat within a minute.

It asks the registry in the database, so a database that is unavailable makes it fail. That is right for a
report and wrong as a reason to kill: a worker waits for its database with unsaved results.
"""

import os
import socket
import sys

from patchgrid.core.errors import PatchgridError
from patchgrid.storage import Database
from patchgrid.storage.queue import workers

try:
    with Database.open(os.environ["PATCHGRID_DB"], create=False) as database, database.read() as session:
        found = workers.list_workers(session)
except PatchgridError as error:
    sys.exit(str(error))
if not any(
    worker.host == socket.gethostname() and worker.state != "stopped" and not worker.lost for worker in found
):
    sys.exit(f"no worker on {socket.gethostname()} has sent a heartbeat for a minute")
