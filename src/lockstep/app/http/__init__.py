"""The HTTP shell around the modules' routes: problems, limits, bodies, headers, health. Decides no business question."""

from lockstep.app.http.app import HttpConfig, MakeRouters, create_app
from lockstep.app.http.authentication import Authenticate, Credentials, CredentialsChecker, read_credentials
from lockstep.app.http.body import read_json
from lockstep.app.http.health import Probe, Readiness, ReadyCheck
from lockstep.app.http.limits import count_frame
from lockstep.app.http.problems import problem_document

__all__ = [
    "Authenticate",
    "Credentials",
    "CredentialsChecker",
    "HttpConfig",
    "MakeRouters",
    "Probe",
    "Readiness",
    "ReadyCheck",
    "count_frame",
    "create_app",
    "problem_document",
    "read_credentials",
    "read_json",
]
