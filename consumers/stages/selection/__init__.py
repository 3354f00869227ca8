"""Choosing the articles of a report: what is admitted, what repeats, which stories are told, and who has a place."""
