"""Files that exist twice: what one damaged file costs."""

import logging

import pytest

from agent.box.twin import copy_of, read_twice, write_twice, write_whole

CONTENT, OLDER = b"a key of 32 bytes, or settings", b"what it was before"


def number(content):
    return int(content)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda _path: None, None),
        (lambda path: path.write_bytes(b""), "damaged; taken from its copy"),
        (lambda path: path.write_bytes(CONTENT[:7]), "damaged; taken from its copy"),
        (lambda path: path.write_bytes(CONTENT.swapcase()), "damaged; taken from its copy"),
        (lambda path: path.unlink(), "missing; taken from its copy"),
        # cut between the two of them: the copy is the newer one
        (lambda path: write_whole(path, OLDER), "damaged; taken from its copy"),
        (lambda path: copy_of(path).unlink(), None),
        (lambda path: copy_of(path).write_bytes(b""), "damaged; the file itself is taken"),
        (lambda path: copy_of(path).write_bytes(copy_of(path).read_bytes()[:-1]), "damaged; the file itself is taken"),
    ],
)
def test_one_of_two_is_enough_and_both_are_whole_again(tmp_path, caplog, damage, said):
    path = tmp_path / "seal.key"
    write_twice(path, CONTENT)
    damage(path)
    with caplog.at_level(logging.WARNING):
        assert read_twice(path, bytes) == CONTENT
    assert [said in line for line in caplog.messages] == ([] if said is None else [True])
    caplog.clear()
    path.unlink()
    assert read_twice(path, bytes) == CONTENT, "the copy is good again"
    assert path.stat().st_mode & 0o777 == copy_of(path).stat().st_mode & 0o777 == 0o600


def test_where_neither_is_good_the_reader_hears_why(tmp_path):
    path = tmp_path / "settings.json"
    with pytest.raises(FileNotFoundError):
        read_twice(path, number)
    path.write_bytes(b"no number")
    copy_of(path).write_bytes(b"no digest")
    with pytest.raises(ValueError, match="no number"):
        read_twice(path, number)
    assert copy_of(path).read_bytes() == b"no digest", "what nobody can read gets no copy"
