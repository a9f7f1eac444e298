from . import stream as stream
