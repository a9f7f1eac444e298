"""What can go wrong, as a tree. Only ``cli`` turns these into messages and exit codes.

NeurocodecError
├── ImageError      a picture that cannot be read, written or represented
├── FormatError     bytes that are not a whole, undamaged neurocodec file
├── WeightsError    a model that is unknown, missing or not the one that was asked for
│   └── UnusableModelError  such a model, whatever the file: nothing at all can be done with it
├── DeviceError     a device that is not there
├── VerificationError  a file that does not decode to what was encoded
├── ExistsError     an output that is there already
└── TrainingError   a training run that cannot start, go on or be exported
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class NeurocodecError(Exception):
    """The base of every error this package raises on purpose: one sentence and a way out."""


class ImageError(NeurocodecError):
    """A picture that cannot be read, written or represented by this codec."""


class FormatError(NeurocodecError):
    """Bytes that are not a whole, undamaged neurocodec file."""


class WeightsError(NeurocodecError):
    """A model that is unknown, missing, or not the one that was asked for."""


class UnusableModelError(WeightsError):
    """A model that is unknown, missing, damaged or lacks something, whatever the file: it is no file's fault."""


class DeviceError(NeurocodecError):
    """A device that is not there: no file's fault either."""


class VerificationError(NeurocodecError):
    """A file that does not decode to what was encoded: a fault of the machine, or of ours."""


class ExistsError(NeurocodecError):
    """An output that is there already, and that nobody said to replace."""


class TrainingError(NeurocodecError):
    """A training run that cannot start, go on or be exported."""


NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")  # as torch has it on CPUs and GPUs


@contextmanager
def memory_errors() -> Iterator[None]:
    """A RuntimeError within by which torch says that there is no memory left is a MemoryError."""
    try:
        yield
    except RuntimeError as error:
        if any(words in str(error).lower() for words in NO_MEMORY):
            raise MemoryError("not enough memory for this picture.") from error
        raise


ABOUT_NO_FILE = (UnusableModelError, DeviceError)  # said once, and without a file's name
