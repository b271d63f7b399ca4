import builtins

import pytest


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def _without_pandas(monkeypatch):
    """An environment in which pandas is not installed."""
    original = builtins.__import__

    def without(name, *arguments):
        if name == "pandas":
            raise ImportError("No module named 'pandas'")
        return original(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
