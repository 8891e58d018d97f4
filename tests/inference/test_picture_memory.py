"""The memory bound, in a process of its own: what matters is C's memory, which tracemalloc does not see."""

import subprocess
import sys
from pathlib import Path

import corpus
import pytest
from PIL import Image

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="measures with Linux's /proc and rlimit")

# The peak is VmHWM, this process's own; rusage's maximum is inherited from the parent that started it.
READ_ONE = """
import re, resource, sys
from pathlib import Path
from cifar_core.errors import ImageError
from cifar_core.inference.decoding import open_picture

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

data, room = Path(sys.argv[1]).read_bytes(), int(sys.argv[2])
if room:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + room, used + room))
before = peak()
try:
    print(open_picture(data).size)
except ImageError as error:
    print(error)
print((peak() - before) // 1024)
"""


@pytest.fixture
def read_apart(tmp_path):
    """What a fresh process says of a picture, and by how many MiB its memory grew; `room` is all it may have."""

    def read(data, room=0):
        path = tmp_path / "picture"
        path.write_bytes(data)
        command = [sys.executable, "-c", READ_ONE, path, str(room)]
        run = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
        assert run.stderr == ""
        answer, grown = run.stdout.splitlines()
        return answer, int(grown)

    return read


def test_a_phone_picture_of_100_megapixels_takes_little_memory(read_apart):
    data = corpus.encoded(Image.new("RGB", (11_648, 8_736), "teal"), "JPEG")
    answer, grown = read_apart(data)
    assert answer == "(728, 546)"
    assert grown < 64


@pytest.mark.parametrize(
    "make",
    [
        lambda: corpus.png_bomb(12_000, 10_000, value=128),
        pytest.param(
            lambda: corpus.encoded(Image.new("CMYK", (12_000, 10_000)), "JPEG", progressive=True),
            marks=pytest.mark.slow,  # the worst of all: 4 s to write, 2 s to read
        ),
        lambda: corpus.encoded(Image.new("RGB", (10_000, 6_000)), "WEBP", lossless=True, method=0, quality=0),
    ],
    ids=["RGBA PNG", "progressive CMYK JPEG", "WebP"],
)
def test_the_worst_allowed_pictures_stay_under_the_stated_bound(make, read_apart):
    answer, grown = read_apart(make())
    assert answer.startswith("(")
    assert 300 < grown < 1.25 * 1024, "they are large, so that the bound means something"


def test_a_bomb_takes_no_memory_and_a_small_machine_gets_a_sentence(read_apart):
    answer, grown = read_apart(corpus.png_bomb(30_000, 30_000, colour=3))
    assert "120 million" in answer
    assert grown < 32
    answer, _ = read_apart(corpus.png_bomb(12_000, 10_000), room=200 * 2**20)
    assert "needs more memory than is free" in answer
