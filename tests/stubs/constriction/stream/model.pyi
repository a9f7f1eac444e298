import numpy as np
from numpy.typing import NDArray

class Categorical:
    def __init__(self, probabilities: NDArray[np.float32], *, perfect: bool) -> None: ...

class Uniform:
    def __init__(self, size: int) -> None: ...
