from . import model as model
from . import queue as queue
