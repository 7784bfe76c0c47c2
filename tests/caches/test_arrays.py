"""Arrays on disk: read as they were written, checked, bounded, and never in the way of a run."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from norsim.caches.arrays import CELLS, FITS, IMAGES, MODELS, QUANTIZATIONS, ArrayCache, key_of

CACHE = ArrayCache("tries")
ARRAYS = {
    "single": np.arange(6, dtype=np.float32).reshape(2, 3),
    "empty": np.empty((0, 4)),
    "text": np.array("a text"),
    "number": np.array(7),
    "strided": np.arange(20, dtype=np.uint8).reshape(4, 5)[:, ::2],
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "norsim"


def kept(key: str) -> Path:
    path = CACHE.path(key)
    assert path is not None
    return path


def test_arrays_are_read_as_they_were_written() -> None:
    key = key_of("one", 1)
    assert CACHE.get(key) is None and not CACHE.has(key)
    CACHE.put(key, ARRAYS)
    found = CACHE.get(key)
    assert CACHE.has(key) and found is not None and found.keys() == ARRAYS.keys()
    for name, values in ARRAYS.items():
        assert (found[name].dtype, found[name].shape) == (values.dtype, values.shape)
        assert found[name].tobytes() == values.tobytes()


def test_keys_differ_if_any_part_does() -> None:
    keys = {key_of(*parts) for parts in ((1, "a"), ("1", "a"), (1, "b"), (1,), ((1, "a"),), (1.0, "a"))}
    assert len(keys) == 6 and key_of(1, "a") == key_of(1, "a")


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "text": lambda content: b"no arrays\n",
    "cut short": lambda content: content[: len(content) // 2],
    "a byte changed": lambda content: content[:150] + bytes([content[150] ^ 1]) + content[151:],
    "another array": lambda content: b"\x93NUMPY" + content[6:],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_entry_counts_as_absent_and_is_replaced(damage: Callable[[bytes], bytes]) -> None:
    key = key_of("one")
    CACHE.put(key, ARRAYS)
    kept(key).write_bytes(damage(kept(key).read_bytes()))
    assert CACHE.get(key) is None
    CACHE.put(key, ARRAYS)
    assert CACHE.get(key) is not None


@pytest.mark.parametrize("old, new", [(b"single", b"double"), (b"[2, 3]", b"[3, 2]"), (b"<f4", b"<i4")])
def test_a_changed_entry_in_a_sound_file_is_noticed(old: bytes, new: bytes) -> None:
    key = key_of("one")
    CACHE.put(key, ARRAYS)
    content = kept(key).read_bytes()
    assert content.count(old) == 1
    kept(key).write_bytes(content.replace(old, new))
    assert CACHE.get(key) is None


def test_arrays_can_be_changed_in_memory_alone() -> None:
    """torch warns of arrays that cannot be written to."""
    key = key_of("one")
    CACHE.put(key, ARRAYS)
    first, second = CACHE.get(key), CACHE.get(key)
    assert first is not None and second is not None
    first["single"][:] = 9
    assert np.array_equal(second["single"], ARRAYS["single"])
    assert all(values.flags.aligned for values in first.values())


def test_entries_that_were_not_used_for_the_longest_time_make_room_for_new_ones() -> None:
    values = {"values": np.zeros(1000, np.uint8)}
    CACHE.put(key_of(0), values)
    size = kept(key_of(0)).stat().st_size
    # Small enough for all entries to be counted each time.
    bounded = replace(CACHE, most_bytes=10 * size)
    foreign = kept("notes")
    foreign.write_text("of the user")
    for number in range(1, 30):
        bounded.put(key_of(number), values)
        os.utime(kept(key_of(number)), (number, number))
        # Reading the first one is a use of it.
        assert bounded.get(key_of(0)) is not None
    assert sum(path.stat().st_size for path in bounded.files()) <= 10 * size
    assert bounded.has(key_of(0)) and bounded.has(key_of(29)) and not bounded.has(key_of(1))
    assert foreign.exists()


def test_an_entry_that_leaves_no_room_for_others_is_not_kept() -> None:
    bounded = replace(CACHE, most_bytes=100_000)
    for number in range(5):
        bounded.put(key_of(number), {"values": np.zeros(2000, np.uint8)})
    for size in (95_000, 150_000):
        bounded.put(key_of("large"), {"values": np.zeros(size, np.uint8)})
        assert not bounded.has(key_of("large")) and len(bounded.files()) == 5


def test_a_new_entry_does_not_make_room_by_its_own_removal() -> None:
    bounded = replace(CACHE, most_bytes=100_000)
    for number in range(5):
        bounded.put(key_of(number), {"values": np.zeros(2000, np.uint8)})
        os.utime(kept(key_of(number)), (2**32 + number,) * 2)
    bounded.put(key_of("new"), {"values": np.zeros(89_900, np.uint8)})
    assert bounded.has(key_of("new")) and not bounded.has(key_of(0))


def test_entries_behind_a_link_are_bounded_too(tmp_path: Path, folder: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    folder.mkdir()
    (folder / CACHE.name).symlink_to(elsewhere)
    bounded = replace(CACHE, most_bytes=20_000)
    for number in range(20):
        bounded.put(key_of(number), {"values": np.zeros(2000, np.uint8)})
    assert bounded.has(key_of(19)) and bounded.files() == []
    assert sum(path.stat().st_size for path in elsewhere.iterdir()) <= 20_000


def test_no_folder_of_another_user_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    CACHE.put(key_of("one"), ARRAYS)
    folder = str(CACHE.folder())

    def refuse(usual: Callable[..., object]) -> Callable[..., object]:
        def function(path: object = ".", *options: object, **named: object) -> object:
            if str(path).startswith(folder):
                raise PermissionError(13, "Permission denied", str(path))
            return usual(path, *options, **named)

        return function

    for name in ("stat", "listdir", "scandir", "open"):
        monkeypatch.setattr(os, name, refuse(getattr(os, name)))
    monkeypatch.setattr("builtins.open", refuse(open))
    CACHE.put(key_of("two"), ARRAYS)
    assert not CACHE.has(key_of("one")) and CACHE.get(key_of("one")) is None and CACHE.files() == []


def test_only_own_files_are_listed(folder: Path) -> None:
    CACHE.put(key_of("one"), ARRAYS)
    own = kept(key_of("one"))
    half = own.with_name(f".{own.name}.123")
    half.write_bytes(b"half")
    (own.parent / "notes.arrays").write_bytes(b"of the user")
    (own.parent / f"{key_of('two')}.arrays").symlink_to(own)
    earlier = own.with_suffix(".npz")
    earlier.write_bytes(b"of an earlier version")
    assert CACHE.files() == sorted([own, half, earlier])
    assert ArrayCache("none").files() == []


BOUNDED = (MODELS, FITS, QUANTIZATIONS, IMAGES)


def test_all_but_characterisations_which_are_small_are_bounded() -> None:
    assert {one.name for one in (CELLS, *BOUNDED)} == {"cells", "models", "fits", "quantizations", "images"}
    assert [one.most_bytes for one in BOUNDED] == [2**31, 2**30, 2**30, 2**30]


@pytest.mark.parametrize("blocked", [".", "norsim", "norsim/tries"])
def test_a_folder_that_cannot_be_written_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocked: str
) -> None:
    """A file is in the place of the folder: this acts like a read-only folder, but also for root."""
    where = tmp_path / "cache" / blocked
    where.parent.mkdir(parents=True, exist_ok=True)
    where.write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    CACHE.put(key_of("one"), ARRAYS)
    assert CACHE.get(key_of("one")) is None and CACHE.files() == []


def test_without_a_home_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("norsim.caches.arrays.cache_folder", lambda: None)
    CACHE.put(key_of("one"), ARRAYS)
    assert CACHE.get(key_of("one")) is None and not CACHE.has(key_of("one")) and CACHE.files() == []
