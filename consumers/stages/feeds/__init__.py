"""Reading feeds: documents of any syndication format become clean articles."""
