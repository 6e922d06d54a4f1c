"""Images that are arrays of numbers: `.npy` files and DICOM."""

import io
from typing import Any

import numpy as np
import pytest

from pipeline.errors import DataError
from pipeline.images.decode import decode_rgb, has_image_mark, read_header, value_range

RAMP = np.linspace(0, 1, 12 * 20).reshape(12, 20)


def npy(values: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(values))
    return buffer.getvalue()


def test_array_of_bytes_keeps_its_pixels_and_its_colours():
    grey = (RAMP * 255).astype(np.uint8)
    assert (decode_rgb(npy(grey)) == grey[:, :, None]).all()
    colours = np.dstack([grey, grey.T.reshape(12, 20), 255 - grey])
    assert (decode_rgb(npy(colours)) == colours).all()
    header = read_header(npy(colours))
    assert (header.format, header.width, header.height, header.mode) == ("NPY", 20, 12, "RGB")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4", np.int32, np.int64])
def test_numbers_of_their_own_range_are_stretched_from_the_least_to_the_largest(dtype):
    values = (RAMP * 9000 - 4000).astype(dtype)
    pixels = decode_rgb(npy(values))
    assert (pixels.min(), pixels.max()) == (0, 255)
    assert np.abs(pixels[:, :, 0] / 255 - RAMP).max() < 0.01
    assert value_range(npy(values)) == "-4000 to 5000"


def test_numbers_of_12_bits_are_read_as_such():
    assert value_range(npy((RAMP * 4095).astype(np.uint16))) == "12 bits"
    assert decode_rgb(npy((RAMP * 4095).astype(np.uint16))).max() == 255


@pytest.mark.parametrize("dtype", [np.int16, np.uint32, np.int64, np.uint64])
def test_whole_numbers_are_read_by_their_bits_however_they_are_stored(dtype):
    values = (RAMP * 2800 + 200).astype(np.uint16)
    assert value_range(npy(values.astype(dtype))) == "12 bits"
    assert (decode_rgb(npy(values.astype(dtype))) == decode_rgb(npy(values))).all()


def test_channels_stand_below_each_other_whichever_end_they_are_at():
    scans = np.stack([RAMP, 1 - RAMP, RAMP / 2, RAMP])  # (4, 12, 20)
    below = decode_rgb(npy(scans))
    assert below.shape == (48, 20, 3)
    assert (decode_rgb(npy(np.moveaxis(scans, 0, 2))) == below).all()
    assert (decode_rgb(npy(np.asfortranarray(scans))) == below).all()


def test_marks_of_a_mask_and_what_is_no_number_are_black_and_white():
    assert set(np.unique(decode_rgb(npy(RAMP > 0.5)))) == {0, 255}
    holed = np.where(RAMP > 0.5, np.nan, RAMP)
    assert decode_rgb(npy(holed))[-1, -1].max() == 0


WRONG = {
    "numbers": npy(np.array([["a", "b"]])),
    "4 dimensions|has 4": npy(np.zeros((2, 2, 2, 2))),
    "not a whole .npy file": npy(RAMP)[:-1],
    "not a whole": npy(np.zeros((0, 4))),
    "not a whole .npy": b"\x93NUMPY\x01\x00\x10\x00{'descr': 1}    \n",
}


@pytest.mark.parametrize("message", WRONG)
def test_what_is_no_image_is_refused_in_one_line(message):
    with pytest.raises(DataError, match=message) as caught:
        decode_rgb(WRONG[message])
    assert "\n" not in str(caught.value)


def test_header_that_claims_more_than_there_is_takes_no_memory():
    claim = str({"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**9, 3)}).encode()
    content = b"\x93NUMPY\x01\x00" + len(claim).to_bytes(2, "little") + claim
    with pytest.raises(DataError, match="not a whole"):
        decode_rgb(content)


def test_objects_of_python_are_never_loaded():
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}, None]), allow_pickle=True)
    with pytest.raises(DataError, match="must hold numbers"):
        read_header(buffer.getvalue())


def test_array_without_a_suffix_is_known_by_its_mark():
    assert has_image_mark(npy(RAMP)[:16])


def dicom(values: Any, **tags: Any) -> bytes:
    """Write numbers of 16 bits as a DICOM that isn't compressed."""
    import pydicom
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    file = pydicom.Dataset()
    file.file_meta = meta
    file.SOPClassUID, file.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    file.Rows, file.Columns = values.shape
    file.SamplesPerPixel, file.PixelRepresentation = 1, 0
    file.BitsAllocated, file.BitsStored, file.HighBit = 16, 12, 11
    file.PhotometricInterpretation = "MONOCHROME2"
    file.PixelData = values.astype("<u2").tobytes()
    for name, value in tags.items():
        setattr(file, name, value)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, file, enforce_file_format=True)
    return buffer.getvalue()


STORED = (RAMP * 4095).astype(np.uint16)


def test_dicom_of_12_bits_is_read_by_them():
    pixels = decode_rgb(dicom(STORED))[:, :, 0]
    assert np.abs(pixels / 255 - RAMP).max() < 0.01
    assert read_header(dicom(STORED)).format == "DICOM"


def test_dicom_whose_low_numbers_are_white_is_inverted():
    straight = decode_rgb(dicom(STORED))
    inverted = decode_rgb(dicom(STORED, PhotometricInterpretation="MONOCHROME1"))
    assert (inverted == 255 - straight).all()


def test_dicom_is_seen_through_its_window_after_slope_and_intercept():
    window = {"RescaleSlope": 2, "RescaleIntercept": -1000, "WindowCenter": 0, "WindowWidth": 400}
    pixels = decode_rgb(dicom(STORED, **window))[:, :, 0]
    values = STORED * 2.0 - 1000
    assert (pixels[values <= -201] == 0).all()
    assert (pixels[values >= 201] == 255).all()
    assert 100 < pixels[np.abs(values) < 20].mean() < 155


def test_dicom_that_is_cut_short_says_so_in_one_line():
    with pytest.raises(DataError, match="cannot be decoded as DICOM"):
        decode_rgb(dicom(STORED)[:-9])
    with pytest.raises(DataError, match="cannot be decoded as DICOM"):
        decode_rgb(b"\0" * 128 + b"DICM" + b"\xff" * 40)


def test_dicom_without_its_package_says_which_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(DataError, match="-m pip install pydicom'"):
        decode_rgb(b"\0" * 128 + b"DICM" + b"\0" * 40)
