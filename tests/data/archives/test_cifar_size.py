"""The reader of CIFAR-10's batches at their real size, in a process of its own to be measured."""

import json
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.competition import load_competition
from pipeline.data.archives.cifar import TEST_BATCH, TRAIN_BATCHES
from tests.data.archives.test_cifar import python_2

NUM_IMAGES = 10_000  # per batch
BATCHES_MB = 6 * NUM_IMAGES * 3072 / 1e6
CODE = """
import json, re, sys, time
from pathlib import Path
from pipeline.data.archives.cifar import unpack_batches

def peak():
    return int(re.search("VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text()).group(1))

folder, classes = Path(sys.argv[1]), json.loads(sys.argv[2])
before, start = peak(), time.monotonic()
count = unpack_batches(folder / "cifar.tar.gz", folder / "images", classes, folder / "truth.csv")
seconds = time.monotonic() - start
print(json.dumps({"count": count, "kib": peak() - before, "seconds": seconds}))
"""


def pack(archive: Path, classes: list[str]) -> None:
    """Write the layout of cifar-10-python.tar.gz, pickled as by its authors, of noise."""
    generator = np.random.default_rng(0)
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:

        def add(name: str, content: bytes) -> None:
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(content)
            tar.addfile(info, BytesIO(content))

        def add_pickle(name: str, value: dict[bytes, object]) -> None:
            add(name, b"\x80\x02" + python_2(value) + b".")

        names = [name.encode() for name in classes]
        add_pickle(
            "batches.meta",
            {b"num_cases_per_batch": NUM_IMAGES, b"label_names": names, b"num_vis": 3072},
        )
        for batch in (*TRAIN_BATCHES, TEST_BATCH):
            targets = generator.integers(0, len(classes), NUM_IMAGES).tolist()
            value = {
                b"batch_label": batch.encode(),
                b"labels": targets,
                b"data": generator.integers(0, 256, (NUM_IMAGES, 3072), np.uint8),
                b"filenames": [f"{number}.png".encode() for number in range(NUM_IMAGES)],
            }
            add_pickle(batch, value)
        add("readme.html", b"<html></html>")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_real_number_of_images_needs_little_more_memory_than_the_batches(
    tmp_path: Path,
) -> None:
    classes = list(load_competition("cifar-10").classes)
    pack(tmp_path / "cifar.tar.gz", classes)
    arguments = [sys.executable, "-c", CODE, str(tmp_path), json.dumps(classes)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    measured = json.loads(done.stdout)
    assert measured["count"] == 60_000, measured
    assert measured["kib"] * 1024 / 1e6 < 1.5 * BATCHES_MB
    for folder, expected in (("train", 50_000), ("test", 10_000)):
        assert sum(1 for _ in (tmp_path / "images" / folder).rglob("*.png")) == expected
    assert len((tmp_path / "truth.csv").read_text("utf-8").splitlines()) == 1 + 10_000
