import asyncio
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server.errors import StorageFullError
from server.store.saved_images import MAX_NAME, SavedImages, safe_name

ID = "123e4567-e89b-42d3-a456-426614174000"
OTHER_ID = "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("cat.jpg", "cat.jpg"),
        ("IMG_2026-01.final.JPEG", "IMG_2026-01.final.JPEG"),
        ("../../etc/passwd", "passwd"),
        ("/etc/passwd", "passwd"),
        ("a/b.jpg", "b.jpg"),
        ("C:\\x\\y.png", "y.png"),
        ("..\\..\\y.png", "y.png"),
        (".bashrc", "bashrc"),
        ("...png", "png"),
        ("..", "image"),
        (".", "image"),
        ("", "image"),
        ("/", "image"),
        ("a/..", "image"),
        ("a\0b.png", "a_b.png"),
        ("a b\n'c'.png", "a_b_c_.png"),
        ("кот.png", "_.png"),
        ("кот", "_"),
        ("🐈.webp", "_.webp"),
        ("x" * 300 + ".jpeg", "x" * (MAX_NAME - 5) + ".jpeg"),
        ("x" * 300, "x" * MAX_NAME),
    ],
)
def test_a_name_loses_what_is_dangerous_and_keeps_its_extension(name: str, kept: str) -> None:
    assert safe_name(name) == kept


@given(st.text())
@example("x." + "y" * 300)
@example("x" * 300 + "." + "y" * 300)
@example("\ud800.png")
def test_a_safe_name_is_a_plain_file_name_whatever_the_client_sent(name: str) -> None:
    safe = safe_name(name)
    assert 1 <= len(safe) <= MAX_NAME
    assert safe.isascii()
    assert safe.replace("_", "").replace("-", "").replace(".", "x").isalnum() or set(safe) <= {
        *"_-"
    }
    assert not safe.startswith(".")
    assert safe_name(safe) == safe


@pytest.mark.parametrize("name", ["cat.jpg", "../../../cat.jpg", "/cat.jpg", "..", "", "a\0b.jpg"])
async def test_an_image_is_kept_in_the_folder_of_its_request_and_nowhere_else(
    tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "deep" / "images"
    await SavedImages(folder).save(ID, name, b"pixels")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files == [folder / ID / safe_name(name)]
    assert files[0].read_bytes() == b"pixels"


async def test_the_same_image_saved_again_replaces_the_first(tmp_path: Path) -> None:
    images = SavedImages(tmp_path)
    await images.save(ID, "cat.jpg", b"a longer first one")
    await images.save(ID, "cat.jpg", b"pixels")
    assert (tmp_path / ID / "cat.jpg").read_bytes() == b"pixels"


async def test_deleting_takes_the_images_of_that_request_only(tmp_path: Path) -> None:
    images = SavedImages(tmp_path)
    await images.save(ID, "cat.jpg", b"pixels")
    await images.save(OTHER_ID, "cat.jpg", b"pixels")
    await images.delete(ID)
    assert [path.name for path in tmp_path.iterdir()] == [OTHER_ID]
    await images.delete(ID)  # there is nothing any more, which is well


async def test_deleting_all_leaves_nothing_and_saving_goes_on(tmp_path: Path) -> None:
    images = SavedImages(tmp_path / "images")
    await images.save(ID, "cat.jpg", b"pixels")
    await images.delete_all()
    assert list(tmp_path.iterdir()) == []
    await images.delete_all()
    await images.save(ID, "cat.jpg", b"pixels")
    assert (tmp_path / "images" / ID / "cat.jpg").read_bytes() == b"pixels"


async def test_a_folder_that_is_a_file_is_told_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "images").write_text("not a folder")
    with pytest.raises(NotADirectoryError):
        await SavedImages(tmp_path / "images").save(ID, "cat.jpg", b"pixels")
    assert (tmp_path / "images").read_text() == "not a folder"


async def test_a_name_that_is_taken_by_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / ID / "cat.jpg").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        await SavedImages(tmp_path).save(ID, "cat.jpg", b"pixels")


@pytest.fixture
def no_file_above_a_megabyte() -> Iterator[None]:
    """The kernel refuses larger files, in the middle of a write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.usefixtures("no_file_above_a_megabyte")
async def test_a_write_that_fails_halfway_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="File too large"):
        await SavedImages(tmp_path).save(ID, "cat.jpg", b"p" * 2**21)
    assert list(tmp_path.iterdir()) == []


async def test_a_full_disk_is_told_as_one_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / ID).mkdir()
    (tmp_path / ID / "cat.jpg").symlink_to("/dev/full")  # each write there meets ENOSPC
    with pytest.raises(StorageFullError, match="disk is full"):
        await SavedImages(tmp_path).save(ID, "cat.jpg", b"pixels")
    assert list(tmp_path.iterdir()) == []


async def test_who_deletes_while_an_image_is_saved_harms_nobody(tmp_path: Path) -> None:
    images = SavedImages(tmp_path / "images")

    async def keep() -> None:
        await images.doubt(ID)
        await images.save(ID, "cat.jpg", b"pixels")
        await images.trust(ID)

    for _ in range(150):
        await asyncio.gather(keep(), images.delete(ID), images.delete_all())
    await keep()
    assert (tmp_path / "images" / ID / "cat.jpg").read_bytes() == b"pixels"
