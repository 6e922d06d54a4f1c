"""Drawn editions of shipped competitions: a few small pictures in their exact layout."""

from typing import Any

import pytest

from pipeline.config.archive_table import Synthetic
from pipeline.config.competition import Competition, load_competition
from pipeline.config.strict import built_in_names

_BREEDS = """
affenpinscher afghan_hound african_hunting_dog airedale american_staffordshire_terrier appenzeller
australian_terrier basenji basset beagle bedlington_terrier bernese_mountain_dog
black-and-tan_coonhound blenheim_spaniel bloodhound bluetick border_collie border_terrier borzoi
boston_bull bouvier_des_flandres boxer brabancon_griffon briard brittany_spaniel bull_mastiff
cairn cardigan chesapeake_bay_retriever chihuahua chow clumber cocker_spaniel collie
curly-coated_retriever dandie_dinmont dhole dingo doberman english_foxhound english_setter
english_springer entlebucher eskimo_dog flat-coated_retriever french_bulldog german_shepherd
german_short-haired_pointer giant_schnauzer golden_retriever gordon_setter great_dane
great_pyrenees greater_swiss_mountain_dog groenendael ibizan_hound irish_setter irish_terrier
irish_water_spaniel irish_wolfhound italian_greyhound japanese_spaniel keeshond kelpie
kerry_blue_terrier komondor kuvasz labrador_retriever lakeland_terrier leonberg lhasa malamute
malinois maltese_dog mexican_hairless miniature_pinscher miniature_poodle miniature_schnauzer
newfoundland norfolk_terrier norwegian_elkhound norwich_terrier old_english_sheepdog otterhound
papillon pekinese pembroke pomeranian pug redbone rhodesian_ridgeback rottweiler saint_bernard
saluki samoyed schipperke scotch_terrier scottish_deerhound sealyham_terrier shetland_sheepdog
shih-tzu siberian_husky silky_terrier soft-coated_wheaten_terrier staffordshire_bullterrier
standard_poodle standard_schnauzer sussex_spaniel tibetan_mastiff tibetan_terrier toy_poodle
toy_terrier vizsla walker_hound weimaraner welsh_springer_spaniel west_highland_white_terrier
whippet wire-haired_fox_terrier yorkshire_terrier
"""
BREEDS = tuple(_BREEDS.split())
# Of competitions that read them from their labels; of some that have hundreds a few.
CLASSES = {
    "dog-breed-identification": BREEDS,
    "leaf-classification": ("Acer_Capillipes", "Acer_Circinatum", "Quercus_Alnifolia"),
    "whale-categorization-playground": (
        "new_whale",
        "w_1287fbc",
        "w_1eafe46",
        "w_7554f44",
        "w_98baff9",
        "w_ab4cae2",
    ),
    "hotel-id-2021-fgvc8": ("18807", "36363", "53586", "60181", "64314", "7", "64315"),
    "cdiscount-image-classification-challenge": ("1000004141", "1000010653", "1000021820"),
    "imet-2020-fgvc7": ("0", "1", "448", "3473"),
    "paddy-disease-classification": ("blast", "dead_heart", "normal", "tungro"),
    "iwildcam-2019-fgvc6": ("0", "1", "11", "13"),
    "iwildcam-2020-fgvc7": ("0", "2", "372"),
    "herbarium-2020-fgvc7": ("0", "1", "2", "32093"),
    "herbarium-2021-fgvc8": ("0", "1", "64499"),
    "herbarium-2022-fgvc9": ("1", "2", "15505"),
    "inaturalist-2019-fgvc6": ("0", "1", "2", "3", "4", "1009"),
}
NUM_TRAIN = {
    "whale-categorization-playground": 11,  # so that the last class has one image
    "petfinder-pawpularity-score": 12,
    "rsna-miccai-brain-tumor-radiogenomic-classification": 12,  # six patients
    "rsna-breast-cancer-detection": 12,
    "cdiscount-image-classification-challenge": 12,  # six products
    "rsna-2022-cervical-spine-fracture-detection": 16,  # eight scans
}
NAMES = {
    "cat-dog": ("{label}_{index}.jpg", "{index}.jpg"),
    "demo": ("{label}_{index}.jpg", "{index}.jpg"),
    "dogs-vs-cats-redux": ("{label}.{index}.jpg", "{number}.jpg"),
    "cifar-10-kaggle": ("{number}.png", "{number}.png"),
    "plant-pathology-2020": ("Train_{index}.jpg", "Test_{index}.jpg"),
    **dict.fromkeys(
        ("herbarium-2020-fgvc7", "herbarium-2021-fgvc8", "herbarium-2022-fgvc9"),
        ("{number}.jpg", "{index}.jpg"),
    ),
    "inaturalist-2019-fgvc6": ("{number}.jpg", "2682{index:02}.jpg"),
    "leaf-classification": ("{number}.jpg", "9{index:03}.jpg"),
    "rsna-miccai-brain-tumor-radiogenomic-classification": ("{number}.dcm", "{number}.dcm"),
    "rsna-2022-cervical-spine-fracture-detection": ("{number}.dcm", "{number}.dcm"),
    "invasive-species-monitoring": ("{number}.jpg", "{number}.jpg"),
    "siim-isic-melanoma-classification": ("ISIC_{number:07}.jpg", "ISIC_9{index:06}.jpg"),
}


# In the form of another one that is shipped: tried in `make test-slow`.
_REPEATS = {
    "demo", "demo-12", "cifar-10-demo",
    "dog-breed-identification",
    "herbarium-2021-fgvc8", "herbarium-2022-fgvc9",
    "invasive-species-monitoring",
    "iwildcam-2020-fgvc7",
    "paddy-disease-classification",
    "plant-seedlings-classification",
}  # fmt: skip
ALL_SHIPPED = [
    pytest.param(name, marks=pytest.mark.slow if name in _REPEATS else [])
    for name in built_in_names("competitions")
]


def shipped(name: str) -> Competition:
    """Load a shipped competition, without the hashes that no drawn edition has."""
    competition = load_competition(name)
    unknown = {"sha256": None, "md5": None, "num_bytes": None}
    archives = tuple(archive.model_copy(update=unknown) for archive in competition.archives)
    return competition.model_copy(update={"archives": archives})


def with_classes(competition: Competition) -> Competition:
    """Name the classes of a competition that reads them from its labels."""
    classes = competition.classes or CLASSES[competition.name]
    return competition.model_copy(update={"classes": classes})


def edition(name: str, **changes: Any) -> Competition:
    """Make a shipped competition one to be drawn, with two training images per class or more."""
    competition = with_classes(shipped(name))
    train, test = NAMES.get(name, (None, None))
    is_batched = any(archive.format == "cifar-batches" for archive in competition.archives)
    sizes = {"min_side_px": 32, "max_side_px": 32 if is_batched else 40}
    values = {
        "num_train": NUM_TRAIN.get(name, max(8, 2 * competition.num_classes)),
        "num_test": min(20, max(6, competition.num_classes)),
        "odd_files": False,
        "name_template": train,
        "test_name_template": test,
    }
    synthetic = Synthetic.model_validate(values | sizes | changes)
    return competition.model_copy(update={"synthetic": synthetic})
