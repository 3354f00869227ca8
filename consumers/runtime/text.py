"""Text that stages quote from outside, made fit for messages, logs and terminals."""


def plain(quoted: str, limit: int) -> str:
    """The text without control characters, cut to so many bytes of UTF-8."""
    shown = "".join(character if character.isprintable() else " " for character in quoted[:limit])
    return shown.encode()[:limit].decode(errors="ignore")
