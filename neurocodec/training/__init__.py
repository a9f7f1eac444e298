"""Training: data, objective, loop and export. Imports the codec, never the reverse."""
