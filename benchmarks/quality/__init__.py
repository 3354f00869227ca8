"""How well an analysis engine does on labelled data in a folder, and how fast."""
