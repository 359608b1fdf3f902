"""Files that clients upload and download: bytes once by content, a record each, checked for their purpose, gone in time."""

from __future__ import annotations

from stillhouse.filing.checking import METHODS, Verdict, check_file, check_training, training_rows
from stillhouse.filing.record import FilePurpose, FileRecord, UploadPurpose
from stillhouse.filing.shelf import Filing
from stillhouse.filing.uploads import Part, Upload, Uploads

__all__ = [
    "METHODS",
    "FilePurpose",
    "FileRecord",
    "Filing",
    "Part",
    "Upload",
    "UploadPurpose",
    "Uploads",
    "Verdict",
    "check_file",
    "check_training",
    "training_rows",
]
