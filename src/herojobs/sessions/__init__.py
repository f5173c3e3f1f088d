"""Who may do what: sessions, their keys and roles.

A session is a name with a role in some circles; who shows its key acts as it. `Sessions` keeps them in the home folder
and tells Redis, so that hosts without this folder can check keys too.
"""

from herojobs.sessions.audit import Audit, Entry
from herojobs.sessions.login import make_login_link
from herojobs.sessions.session import Role, Session
from herojobs.sessions.sessions import Sessions

__all__ = ["Audit", "Entry", "Role", "Session", "Sessions", "make_login_link"]
