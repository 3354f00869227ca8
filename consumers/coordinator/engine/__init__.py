"""What becomes of an execution when it is told a fact: pure functions of its rows, which touch nothing outside."""
