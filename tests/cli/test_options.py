"""Options that several commands share."""

from __future__ import annotations

import click
import pytest

from toxonnx.cli import COMMANDS, group


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("name", COMMANDS)
def test_no_option_takes_a_number_that_is_not_finite(name: str, number: str) -> None:
    command = group.get_command(click.Context(group), name)
    assert command is not None
    for option in command.params:
        if isinstance(option.type, type(click.FLOAT)):
            with pytest.raises(click.BadParameter):
                option.type.convert(number, option, None)
