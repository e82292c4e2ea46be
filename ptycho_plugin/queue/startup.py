"""What the queue server's worker loads: ``start-re-manager --startup-module ptycho_plugin.queue.startup``.

Importing it opens the session that the environment names. Its plans and its RunEngine are all that the queue
server is offered: no device, which a queued ``mv`` could open the shutter with.
"""

from ptycho_plugin.queue.plans import queued_plans
from ptycho_plugin.queue.session import Session

_session = Session.from_environment()
RE = _session.engine
globals().update(queued_plans(_session))
