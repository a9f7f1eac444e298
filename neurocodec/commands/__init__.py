"""What the command line can do: options, files, messages. Everything else is in ``api``.

torch is only loaded by commands that need it, so that --help answers at once.
"""
