"""Tell by whole words what folders and lists are called after: a split, a sample, other images."""

import re
from collections.abc import Iterable, Mapping, Set
from pathlib import PurePosixPath

WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[\u4e00-\u9fff]+")
TRAIN_WORDS = {
    "train", "training", "trains", "trainset", "trainingset", "traindata", "trainingdata",
    "trainimages", "trainval", "val", "valid", "validation", "validate",
}  # fmt: skip
TEST_WORDS = {
    "test", "testing", "tests", "testset", "testingset", "testdata", "testimages", "unlabeled",
    "unlabelled", "unlabel",
}  # fmt: skip
THINGS = "集|数据|样本|图片|图像|图"
CHINESE_TRAIN = re.compile(rf"^(训练|验证)$|(训练|验证)({THINGS})+$")
CHINESE_TEST = re.compile(rf"^测试$|测试({THINGS})+$")
SAMPLE_WORDS = {"sample", "samples", "example", "examples", "template"}
SUBMISSION = re.compile(r"submi|提交|示例|样例", re.IGNORECASE)
# What is made of the images, or drawn for them, and called as they are.
DERIVED_WORDS = {
    "mask", "masks", "annotation", "annotations", "annot", "gt", "groundtruth", "segmentation",
    "segmentations", "seg", "depth", "edges", "heatmap", "heatmaps", "resized", "small", "thumb",
    "thumbs", "thumbnail", "thumbnails", "preview", "previews", "augmented", "aug", "crop", "crops",
    "cropped", "processed", "normalized", "gray", "grey", "labels",
}  # fmt: skip
IMAGE_WORDS = {
    "image", "images", "img", "imgs", "jpg", "jpegs", "jpegimages", "png", "photo", "photos",
    "picture", "pictures", "pics", "rgb", "original", "originals", "raw", "color", "colour",
}  # fmt: skip


def words_of(name: str) -> list[str]:
    """Cut a name into words, in lower case: `catDog_test2` is cat, dog and test."""
    return [word.lower() for word in WORD.findall(name)]


def splits_named(name: str) -> Set[str]:
    """Tell for which split a folder or list is named: "train", "test", or neither if for both."""
    words = words_of(name)
    is_train = any(word in TRAIN_WORDS or CHINESE_TRAIN.search(word) for word in words)
    is_test = any(word in TEST_WORDS or CHINESE_TEST.search(word) for word in words)
    if is_train == is_test:
        return frozenset()
    return frozenset({"train" if is_train else "test"})


def is_submission_name(name: str) -> bool:
    """Whether a list is called after a submission."""
    return SUBMISSION.search(name) is not None


def is_sample_name(name: str) -> bool:
    """Whether a list is called after a sample, which may be one of wood, too."""
    return not SAMPLE_WORDS.isdisjoint(words_of(name))


def is_derived_name(name: str) -> bool:
    """Whether a folder is called after what is made of images: masks, thumbnails."""
    return not DERIVED_WORDS.isdisjoint(words_of(name))


def is_image_folder_name(name: str) -> bool:
    """Whether a folder is called after its being of images, whatever they show."""
    return not IMAGE_WORDS.isdisjoint(words_of(name))


MIN_SHARED = 0.9


def find_derived(files: Iterable[PurePosixPath]) -> dict[PurePosixPath, PurePosixPath]:
    """Find folders that hold files of the same names as one beside them, and are called so.

    Args:
        files: Images, relative.

    Returns:
        The folder of the images themselves by the folder of what is made of them.
    """
    stems: dict[PurePosixPath, set[str]] = {}
    for file in files:
        for folder in file.parents:
            stems.setdefault(folder, set()).add(str(file.relative_to(folder).with_suffix("")))
    children: dict[PurePosixPath, list[PurePosixPath]] = {}
    for folder in stems:
        if folder.parts:
            children.setdefault(folder.parent, []).append(folder)
    return {
        derived: original
        for siblings in children.values()
        if len(siblings) > 1
        for derived in siblings
        for original in siblings
        if _is_made_of(derived, original, stems)
    }


def _is_made_of(
    derived: PurePosixPath, original: PurePosixPath, stems: Mapping[PurePosixPath, set[str]]
) -> bool:
    one, other = derived.name.lower(), original.name.lower()
    is_longer = one.startswith(other) and one != other and not one[len(other)].isalnum()
    is_so_called = is_derived_name(one) and not is_derived_name(other)
    if not is_longer and not (is_so_called and is_image_folder_name(other)):
        return False
    return len(stems[derived] & stems[original]) >= MIN_SHARED * len(stems[derived])
