"""The Dockerfile, as far as it can be checked without Docker."""

import json
import re

from samples import ROOT
from typer.main import get_command

from bigru_tagger.cli.app import app

TEXT = (ROOT / "Dockerfile").read_text(encoding="utf8")
LAST_STAGE = TEXT.rpartition("\nFROM ")[2]


def test_copied_files_exist_and_are_in_the_build_context() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf8").splitlines()
    first_stage = TEXT.removesuffix(LAST_STAGE)
    copied = [
        name for line in re.findall(r"^COPY (.+)$", first_stage, re.M) for name in line.split()[:-1]
    ]
    assert "bigru_tagger" in copied
    for name in copied:
        assert (ROOT / name).exists(), name
        assert f"!{name}" in ignored


def test_the_command_is_valid_and_its_user_is_not_root() -> None:
    (entry,) = re.findall(r"^ENTRYPOINT (.+)$", LAST_STAGE, re.M)
    (arguments,) = re.findall(r"^CMD (.+)$", LAST_STAGE, re.M)
    program, name, *given = json.loads(entry) + json.loads(arguments)
    assert (program, name) == ("bigru-tagger", "serve")
    command = get_command(app).commands[name]  # type: ignore[attr-defined]
    context = command.make_context(name, given)
    assert context.params["model"] == "/model"
    assert context.params["host"] == "0.0.0.0"
    (port,) = re.findall(r"^EXPOSE (\d+)$", LAST_STAGE, re.M)
    assert context.params["port"] == int(port)
    (user,) = re.findall(r"^USER (\S+)$", LAST_STAGE, re.M)
    assert int(user) > 0
    (check,) = re.findall(r"^HEALTHCHECK .*?CMD (.+)$", LAST_STAGE, re.M)
    assert f":{port}/healthz" in json.loads(check)[-1]
    compile(json.loads(check)[-1], "HEALTHCHECK", "exec")
