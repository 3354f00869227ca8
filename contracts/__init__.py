"""The language of the system: references, messages, templates, stage specs and topology, as data."""
