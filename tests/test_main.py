"""python -m mmorderless runs every tool of `tools` that an installed package has."""

import sys
from importlib import import_module

import pytest

from mmorderless.__main__ import COMMANDS, main


def test_every_tool_has_a_command(repository):
    scripts = {file.stem for file in (repository / "tools").glob("*.py")}
    assert {module for module, _ in COMMANDS.values()} == {
        name for name in scripts if not name.startswith(("benchmark", "check_gpu", "make_"))
    }
    for module, function in COMMANDS.values():
        door = (repository / f"tools/{module}.py").read_text(encoding="utf-8")
        assert f"from mmorderless.commands.{module} import {function}\n" in door
        assert callable(getattr(import_module(f"mmorderless.commands.{module}"), function))


def call(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["__main__.py", *words])
    main()


def test_arguments_reach_the_tool(monkeypatch, capsys, tmp_path):
    with pytest.raises(SystemExit, match="1"):
        call(monkeypatch, "summarize", f"PLA={tmp_path / 'none.json'}")
    assert str(tmp_path / "none.json") in capsys.readouterr().err
    with pytest.raises(SystemExit, match="0"):
        call(monkeypatch, "summarize", "--help")
    assert capsys.readouterr().out.startswith("usage: python -m mmorderless summarize [-h]")


def test_an_unknown_command_lists_the_known_ones(monkeypatch, capsys):
    with pytest.raises(SystemExit, match=r"^error: there is no command 'tarin'; .* train, test, "):
        call(monkeypatch, "tarin")
    with pytest.raises(SystemExit, match="no command ''"):
        call(monkeypatch)
    call(monkeypatch, "--help")
    assert "train, test, " in capsys.readouterr().out
