"""Tell by their names what folders, lists and other files are, and which can't be read."""

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import PurePosixPath

from pipeline.store.folders import is_litter

WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[\u4e00-\u9fff]+")
TRAIN_WORDS = {
    "train", "training", "trains", "trainset", "trainingset", "traindata", "trainingdata",
    "trainimages", "trainval", "val", "valid", "validation", "validate",
}  # fmt: skip
UNLABELED = {"unlabeled", "unlabelled", "unlabel"}
TEST_WORDS = {
    "test", "testing", "tests", "testset", "testingset", "testdata", "testimages", "unlabeled",
    "unlabelled", "unlabel",
}  # fmt: skip
THINGS = "集|数据|样本|图片|图像|图"
CHINESE_TRAIN = re.compile(rf"^(训练|验证)$|(训练|验证)({THINGS})+$")
CHINESE_TEST = re.compile(rf"^测试$|测试({THINGS})+$")
LIST_NAME = re.compile(r"label|train|truth|annot|标签|标注", re.IGNORECASE)
SAMPLE_WORDS = {"sample", "samples", "example", "examples", "template"}
SUBMISSION = re.compile(r"submi|abgabe|soumission|提交|示例|样例", re.IGNORECASE)
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


def is_unlabeled(name: str) -> bool:
    """Whether a folder is called after its images having no label."""
    words = words_of(name)
    no_label = bool(words) and words[0] in ("no", "without") and words[-1] in ("label", "labels")
    return no_label or not UNLABELED.isdisjoint(words) or "".join(words) in ("nolabel", "未标注")


CAMERA_WORDS = {
    "dsc", "dscn", "dscf", "pxl", "gopr", "dji", "mvimg", "sam", "vid", "cimg", "screenshot",
    "whatsapp", "frame", "scan", "file", "untitled",
}  # fmt: skip


def is_camera_name(name: str) -> bool:
    """Whether a file is called as cameras and programs call images, whatever they show."""
    words = words_of(name)
    return bool(words) and set(words) <= CAMERA_WORDS | IMAGE_WORDS


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


SIDES = (
    ("left", "right"), ("l", "r"), ("lt", "rt"), ("od", "os"), ("east", "west"),
    ("clockwise", "counterclockwise"), ("clockwise", "anticlockwise"), ("cw", "ccw"),
    ("links", "rechts"), ("gauche", "droite"), ("izquierda", "derecha"), ("sinistra", "destra"),
    ("esquerda", "direita"), ("左", "右"), ("向左", "向右"), ("左转", "右转"), ("左侧", "右侧"),
)  # fmt: skip
# What people write, and what they sign: read from left to right.
WRITING_WORDS = {
    "digit", "digits", "mnist", "emnist", "kmnist", "svhn", "usps", "letter", "letters",
    "character", "characters", "alphabet", "glyph", "glyphs", "handwriting", "handwritten", "text",
    "word", "words", "ocr", "captcha", "kanji", "kana", "hangul", "hiragana", "katakana", "numeral",
    "numerals", "sign", "signs", "gtsrb", "arrow", "arrows", "direction", "directions", "clock",
    "clocks", "asl", "手写", "数字", "汉字", "文字", "箭头", "标志",
}  # fmt: skip
# Chinese numerals, and so many other characters as are a script rather than things.
NUMERALS, MANY_WORDS = frozenset("〇零一二三四五六七八九十百千万亿"), 20


def doubt_of_mirrors(names: Iterable[str], classes: Sequence[str]) -> str:
    """Say why a mirrored image may not show its class; nothing where nothing tells.

    Args:
        names: What the competition, its folders and lists are called.
        classes: The class names.
    """
    words = [frozenset(words_of(name)) for name in classes]
    for one, other in SIDES:
        sided = [frozenset(own - {one}) for own in words if one in own]
        if any(other in own and frozenset(own - {other}) in sided for own in words):
            return f"classes are '{one}' and '{other}'"
    symbols = [name for name in classes if len(name) == 1 and name.isalnum()]
    are_digits = all(name.isdigit() for name in symbols)
    if len(symbols) == len(classes) and not are_digits and not _are_words(symbols):
        return "classes are single letters"
    called = {word for name in names for word in words_of(name)}
    found = sorted((called | frozenset().union(*words)) & WRITING_WORDS)
    return f"'{found[0]}' is in the names of classes, lists or folders" if found else ""


def _are_words(symbols: Sequence[str]) -> bool:
    """Whether single characters are words, as Chinese for cat and dog, and not what was written."""
    are_ideographs = all("\u4e00" <= name <= "\u9fff" for name in symbols)
    return are_ideographs and len(symbols) < MANY_WORDS and not NUMERALS.issuperset(symbols)


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
    # Files are called as their originals, or as those and what was made, `7_mask.png`.
    found = {match["of"] if (match := BEHIND.fullmatch(one)) else one for one in stems[derived]}
    ways = (stems[derived], found)
    return any(len(own & stems[original]) >= MIN_SHARED * len(own) for own in ways)


MADE = "|".join(sorted({"label", "contour", "overlay", "roi", *DERIVED_WORDS}, key=len)[::-1])
BEHIND = re.compile(rf"(?P<of>.+)(?P<word>[ _.-]+({MADE}))(?P<number>[ _.-]?\d+)?", re.IGNORECASE)
BEFORE = re.compile(rf"(?P<word>({MADE})[ _.-]+)(?P<of>.+)", re.IGNORECASE)


def find_made(files: Sequence[PurePosixPath]) -> dict[str, set[PurePosixPath]]:
    """Find what is made of images and lies beside them, as `7_mask.png` beside `7.png`.

    Args:
        files: Images, relative.

    Returns:
        What is so called, by a pattern that matches all of it.
    """
    stems: dict[PurePosixPath, set[str]] = {}
    for file in files:
        stems.setdefault(file.parent, set()).add(file.stem)
    found: dict[str, set[PurePosixPath]] = {}
    for file in files:
        behind, before = BEHIND.fullmatch(file.stem), BEFORE.fullmatch(file.stem)
        if behind and behind["of"] in stems[file.parent]:
            number = "*[0-9]" * (behind["number"] is not None)
            found.setdefault(f"*{behind['word']}{number}.*", set()).add(file)
        elif before and before["of"] in stems[file.parent]:
            found.setdefault(f"{before['word']}*", set()).add(file)
    return found


MOST_SHOWN = 3
# What can't be read, by how names end; what else a way out names is what to make of it.
KINDS: dict[str, tuple[re.Pattern[str], str]] = {
    "volumes of a split archive": (
        re.compile(r"\.(\d{3}|z\d\d|r\d\d|part\d+\.rar)$", re.IGNORECASE),
        "join them (zip -s 0, or cat for .001, .002, ...) and unpack the whole",
    ),
    "archives of a kind that isn't read": (
        re.compile(
            r"\.(rar|zst|tzst|lz4|lzma|ace|arj|iso|cab|z|gz|bz2|xz|zipx|deb|rpm)$", re.IGNORECASE
        ),
        "unpack them beside the other files, or pack them as zip, 7z or tar.gz",
    ),
    "spreadsheets": (
        re.compile(r"\.(xlsx|xls|xlsm|ods|numbers|parquet|feather|sqlite|db)$", re.IGNORECASE),
        "save them as CSV",
    ),
    "lists in another form": (
        re.compile(r"\.(json|jsonl|ndjson|xml|ya?ml|arff)$", re.IGNORECASE),
        "if they hold labels, write these as CSV: image,label",
    ),
    "arrays and records": (
        re.compile(
            r"\.(npz|h5|hdf5|mat|tfrecords?|rec|idx|lmdb|mdb|pkl|pickle|bin)$", re.IGNORECASE
        ),
        "write their images as files, in a folder per class or with a list of labels",
    ),
    "documents that may hold images": (
        re.compile(r"\.bson$", re.IGNORECASE),
        "if they do, write the file by hand, with records as docs/competitions.md says",
    ),
    "images of a kind that isn't read": (
        re.compile(
            r"\.(nii|heic|heif|avif|jp2|j2k|jxl|psd|svg|eps|pdf|cr2|nef|arw|dng|svs|exr|hdr)$",
            re.IGNORECASE,
        ),
        "convert them to PNG or JPEG",
    ),
}
ARCHIVE_KINDS = list(KINDS)[:2]


def unread_kind(file: PurePosixPath) -> str | None:
    """Name the kind of a file that can't be read; None for what can, and for litter."""
    if is_litter(file):
        return None
    return next((kind for kind, (name, _) in KINDS.items() if name.search(file.name)), None)


def is_unread_archive(file: PurePosixPath) -> bool:
    """Whether a file is an archive that can't be looked into."""
    return unread_kind(file) in ARCHIVE_KINDS


def is_unread_list(file: PurePosixPath) -> bool:
    """Whether a file that can't be read is a table, or called as a list of labels."""
    kind = unread_kind(file)
    is_called = LIST_NAME.search(file.stem) or splits_named(file.stem)
    return kind == "spreadsheets" or (kind == "lists in another form" and bool(is_called))


def unread_folders(files: Iterable[PurePosixPath], split: str) -> list[str]:
    """Name the folders that archives called after a split are likely to be unpacked into."""
    stems = {file.name.partition(".")[0] for file in files if is_unread_archive(file)}
    return sorted(stem for stem in stems if split in splits_named(stem))


def describe_unread(files: Iterable[PurePosixPath]) -> list[str]:
    """Say in one line for each kind what can't be read, and what to do about it."""
    found: dict[str, list[str]] = {}
    for file in files:
        kind = unread_kind(file)
        if kind is not None:
            found.setdefault(kind, []).append(str(file))
    lines = []
    for kind, names in found.items():
        shown = ", ".join(sorted(names)[:MOST_SHOWN])
        more = f" and {len(names) - MOST_SHOWN:,} more" * (len(names) > MOST_SHOWN)
        lines.append(f"{shown}{more}: {kind}, not looked into; {KINDS[kind][1]}")
    return lines


def describe_hidden(images: Sequence[PurePosixPath]) -> list[str]:
    """Say in one line if images lie in hidden folders, which aren't looked at."""
    if not images:
        return []
    return [
        f"{len(images):,} images lie in hidden folders, as {min(images)}, and count for nothing; "
        "if they shouldn't, rename the folders"
    ]


SIDECARS = {".cls", ".txt"}  # of WebDataset and others; .json and .xml are named as lists


def describe_sidecars(images: Sequence[PurePosixPath], files: Iterable[PurePosixPath]) -> list[str]:
    """Say in one line if most images have a file of their name somewhere, which isn't read."""
    stems = {image.stem for image in images}
    beside = [file for file in files if file.suffix in SIDECARS and file.stem in stems]
    if len(beside) <= len(images) / 2:
        return []
    return [
        f"{len(beside):,} files called as the images, as {min(beside)}: not looked into; if they "
        "hold labels, write these as CSV: image,label"
    ]
