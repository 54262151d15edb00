"""Trees that tl2cgen has compiled, called by ctypes alone."""

import ctypes
from array import array
from pathlib import Path

_library = ctypes.CDLL(str(Path(__file__).parent / "libtrees.so"))
_predict = _library.predict
_predict.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
_predict.restype = None
_classes = (ctypes.c_int32 * 1)()
_library.get_num_class(_classes)
_zeros = array("d", bytes(8 * _classes[0]))


def score(row: "array[float]") -> float:
    """Return the probability of the second class.

    The generated code adds to what its caller hands over, so that must be zeros.
    """
    result = _zeros[:]
    _predict(row.buffer_info()[0], 0, result.buffer_info()[0])
    return result[-1]
