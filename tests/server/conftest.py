import contextlib

import pytest
from clients import running

from bigru_tagger.server.app import ServerSettings, make_app


@pytest.fixture
def serve():
    """Serve a pipeline until the end of the test."""
    with contextlib.ExitStack() as stack:
        yield lambda nlp, **settings: stack.enter_context(
            running(make_app(nlp, ServerSettings(**settings)))
        )


@pytest.fixture(scope="session")
def client(ner):
    """A client of a server with the trained recogniser."""
    with running(make_app(ner)) as found:
        yield found
