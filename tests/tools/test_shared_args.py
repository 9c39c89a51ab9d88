import argparse
import importlib.util
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / 'tools/shared_args.py'


def options(*values):
    spec = importlib.util.spec_from_file_location('shared_args_tested', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    parser = argparse.ArgumentParser()
    module.add_shared_args(parser)
    return parser.parse_args(['--cfg-options', *values]).cfg_options


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('a=dict(_delete_=True, x=-1e-3, y=None)', dict(_delete_=True, x=-1e-3, y=None)),
        ("a=dict(z='a b, c')", dict(z='a b, c')),
        ("a=[dict(type='ReclusterHook')]", [dict(type='ReclusterHook')]),
        ('a=[dict(x=(1, 2)), 3]', [dict(x=(1, 2)), 3]),
        ("a={'b': [1]}", dict(b=[1])),
        ('a=My Photos', 'My Photos'),
        ('a={x}', '{x}'),
        ('a={:d}.pth', '{:d}.pth'),
        ('a=[1,2.5,x]', [1, 2.5, 'x']),
    ],
)
def test_values(text, value):
    assert options(text) == dict(a=value)


@pytest.mark.parametrize('text', ['a=dict(x', 'a=dict(x=y)', 'a=dict(1)', "a=dict(x=open('f'))"])
def test_a_value_that_cannot_be_read_ends_with_one_line(text, capsys):
    with pytest.raises(SystemExit):
        options(text)
    assert capsys.readouterr().err.strip().splitlines()[-1].endswith('with texts in quotes')
