"""What lies in deploy/ names commands, options and extras that are there."""

import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import typer.main

from logllm.cli.app import app

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"


def dockerfile() -> list[str]:
    """The instructions, each on one line."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    return [
        line for line in text.replace("\\\n", " ").splitlines() if line and not line.startswith("#")
    ]


def compose() -> dict:
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))


def unit() -> dict[str, str]:
    """The last value of each setting."""
    lines = (DEPLOY / "logllm.service").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if re.match(r"[A-Z]\w+=", line))


def image_command() -> list[str]:
    (command,) = [line for line in dockerfile() if line.startswith("CMD ")]
    return re.findall(r'"([^"]*)"', command)


def commands() -> dict[str, list[str]]:
    """What is run, by who runs it."""
    services = compose()["services"]
    ours = {name: service["command"] for name, service in services.items() if "command" in service}
    start = shlex.split(unit()["ExecStart"])[1:]
    return {"image": image_command(), "unit": start, **ours}


@pytest.mark.parametrize("who", ["image", "unit", "watch", "serve"])
def test_commands_name_verbs_and_options_that_are_there(who):
    verb, *words = commands()[who]
    command = typer.main.get_command(app).commands[verb]
    options = {
        name
        for parameter in command.params
        if parameter.param_type_name == "option"
        for name in parameter.opts
    }
    used = [word for word in words if word.startswith("--")]
    assert used
    assert set(used) <= options


def test_extras_that_are_installed_are_there():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    texts = [
        (DEPLOY / name).read_text(encoding="utf-8") for name in ("Dockerfile", "logllm.service")
    ]
    named = {
        extra
        for text in texts
        for extras in re.findall(r"\[([a-z,]+)\]'", text)
        for extra in extras.split(",")
    }
    assert named
    assert named <= set(project["project"]["optional-dependencies"])


def test_nobody_runs_as_root():
    users = [line.split()[1] for line in dockerfile() if line.startswith("USER ")]
    assert users == ["8431"]
    assert unit()["User"] == "logllm"


def test_no_secret_stands_in_the_files():
    services = compose()["services"]
    settings = {
        name: value
        for service in services.values()
        for name, value in service.get("environment", {}).items()
    }
    secret = {name: value for name, value in settings.items() if re.search("PASSWORD|TOKEN", name)}
    assert secret
    assert all(str(value).startswith("${") for value in secret.values())


@pytest.mark.real
@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("hadolint", [str(DEPLOY / "Dockerfile")]),
        (
            "systemd-analyze",
            ["security", "--offline=true", "--threshold=50", str(DEPLOY / "logllm.service")],
        ),
    ],
    ids=["dockerfile", "unit"],
)
def test_those_who_know_find_nothing(program, arguments):
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    outcome = subprocess.run([program, *arguments], check=False, capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_the_image_copies_what_the_package_is_built_of() -> None:
    """The readme that an index shows is made by a file of its own."""
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    copied = {
        word
        for line in dockerfile.splitlines()
        if line.startswith("COPY ")
        for word in line.split()[1:-1]
    }
    assert {"pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "src"} <= copied
