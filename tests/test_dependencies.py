"""What may be installed beside this project."""

from __future__ import annotations

import tomllib

import pytest
from packaging.requirements import Requirement

from tests.conftest import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
DIRECT = {
    requirement.name: requirement
    for words in (PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"].values())
    for requirement in map(Requirement, words)
}


@pytest.mark.parametrize("name", ["lightning", "pytorch-lightning"])
def test_the_malicious_releases_of_lightning_cannot_be_installed(name):
    assert not {"2.6.2", "2.6.3"} & set(DIRECT[name].specifier.filter(["2.6.1", "2.6.2", "2.6.3", "2.6.4"]))
    assert DIRECT[name].specifier.contains("2.6.4")


def test_every_direct_dependency_says_its_lowest_version():
    """They are what uv run --isolated --resolution lowest-direct pytest tries."""
    assert [name for name, requirement in DIRECT.items() if not any(part.operator == ">=" for part in requirement.specifier)] == []
