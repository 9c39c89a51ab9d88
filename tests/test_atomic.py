import json
import os
import resource

import numpy as np
import pytest
import yaml

from cdc_mm.atomic import dump_atomically, write_atomically
from cdc_mm.errors import RunError


def test_writes_text_and_bytes_and_replaces(tmp_path):
    path = tmp_path / 'new' / 'x'
    for content in (b'\xff\0', 'Gr\u00fc\u00dfe\r\n', ''):
        write_atomically(str(path), content)
        expected = content if isinstance(content, bytes) else content.encode()
        assert path.read_bytes() == expected
    assert os.listdir(path.parent) == ['x']


def test_names_of_files_that_are_not_utf8_come_out_as_they_are(tmp_path):
    write_atomically(tmp_path / 'x', os.fsdecode(b'a\xff.png'))
    assert (tmp_path / 'x').read_bytes() == b'a\xff.png'


def test_a_full_disk_leaves_the_old_file_and_says_how_to_go_on(tmp_path):
    path = tmp_path / 'metrics.json'
    dump_atomically(path, dict(acc=1.0))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5, before[1]))
    try:
        with pytest.raises(RunError, match=r'could not write .*metrics\.json .*same command'):
            dump_atomically(path, dict(acc=2.0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert json.loads(path.read_text()) == dict(acc=1.0)
    assert os.listdir(tmp_path) == ['metrics.json']


def test_the_name_says_the_format(tmp_path):
    content = dict(acc=np.float32(0.5), sizes=[1, 2])
    dump_atomically(tmp_path / 'x.json', content, indent=2)
    assert (tmp_path / 'x.json').read_text().count('\n') > 2
    plain = dict(acc=0.5, sizes=[1, 2])
    assert json.loads((tmp_path / 'x.json').read_text()) == plain
    dump_atomically(tmp_path / 'x.yaml', plain)
    assert yaml.safe_load((tmp_path / 'x.yaml').read_text()) == plain
    dump_atomically(tmp_path / 'x.pkl', plain)
    assert sorted(os.listdir(tmp_path)) == ['x.json', 'x.pkl', 'x.yaml']
    with pytest.raises(TypeError, match='doc'):
        dump_atomically(tmp_path / 'x.doc', plain)
