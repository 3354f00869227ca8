"""How long to wait before another attempt."""

from contracts.templates import Retry


def delay(retry: Retry, retries: int, random: float) -> float:
    """Seconds before the next attempt after so many charged retries: full jitter over a capped exponential.

    ``random`` lies in [0, 1). The bound doubles with each retry up to the policy's cap and the delay is uniform below
    it, which spreads retries better than jitter around it (Brooker, "Exponential Backoff And Jitter", AWS, 2015).
    """
    exponent = min(retries, 62)  # 2**62 times the smallest base is above every cap, and floats stay exact
    return random * min(retry.cap, retry.base * 2.0**exponent)


def after_outage(random: float) -> float:
    """Seconds before another attempt where a server was away: spread, so that its return is not met by all at once."""
    return 2.0 + 8.0 * random
