"""Other programs' call styles on our networks, so that a user changes one import. Nothing else in the library depends on this room."""
