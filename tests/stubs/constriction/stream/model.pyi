from typing import overload

import numpy as np
from numpy.typing import NDArray

class Categorical:
    @overload
    def __init__(self, probabilities: NDArray[np.float32], *, perfect: bool) -> None: ...
    @overload
    def __init__(self, *, perfect: bool) -> None: ...  # a family, whose probabilities come with the symbols

class Uniform:
    def __init__(self, size: int) -> None: ...
