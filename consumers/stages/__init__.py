"""The stages: each module does one kind of work through the context it is given."""
