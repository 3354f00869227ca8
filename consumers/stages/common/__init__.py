"""What several stages of the intelligence pipeline share."""
