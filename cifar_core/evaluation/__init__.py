"""How good a finished run is, where it fails, and what probably went wrong."""
