"""Canonical addresses of articles: the same page has one, however it was linked."""

import re
import urllib.parse

LENGTH = 2048

TRACKING = frozenset({
    "_ga", "_gl", "_hsenc", "_hsmi", "at_bbc_team", "at_campaign", "at_link_id", "at_link_origin", "at_link_type",
    "at_medium", "at_ptr_name", "cmpid", "dclid", "fbclid", "feature_src", "ftag", "gbraid", "gclid", "gclsrc",
    "guccounter", "icid", "igshid", "ito", "mc_cid", "mc_eid", "mkt_tok", "msclkid", "ncid", "ns_campaign",
    "ns_mchannel", "ns_source", "oly_anon_id", "oly_enc_id", "rss", "s_cid", "smid", "sr_share", "taid", "twclid",
    "vero_conv", "vero_id", "wbraid", "wickedid", "wt_mc", "xtor", "yclid", "ysclid",
})  # fmt: skip
"""Query parameters that say where a reader came from and nothing about the page."""

TRACKING_PREFIXES = ("utm_", "hsa_", "pk_", "mtm_", "matomo_", "piwik_")
DEFAULT_PORTS = {"http": 80, "https": 443}

_SPACE = re.compile(r"[\x00-\x20\x7f-\xa0]+")


def canonical(link: str, base: str = "") -> str:
    """The canonical form of a link, resolved against ``base``; empty unless it is a usable http or https address."""
    try:
        joined = urllib.parse.urljoin(base, _SPACE.sub(" ", link).strip().replace(" ", "%20"))
        parts = urllib.parse.urlsplit(joined)
        host, port = (parts.hostname or "").rstrip("."), parts.port
        host = host.encode("idna").decode() if not host.isascii() else host
    except ValueError:
        return ""
    # An address with a user name is made to look like another site's.
    if parts.scheme not in DEFAULT_PORTS or not host or "@" in parts.netloc or len(joined) > LENGTH:
        return ""
    name = f"[{host}]" if ":" in host else host
    place = name if port in (None, DEFAULT_PORTS[parts.scheme]) else f"{name}:{port}"
    query = "&".join(pair for pair in parts.query.split("&") if pair and not _tracks(pair))
    fragment = "" if _tracks(parts.fragment) else parts.fragment
    rest = (_encoded(part) for part in (parts.path or "/", query, fragment))
    return urllib.parse.urlunsplit((parts.scheme, place, *rest))


def _tracks(pair: str) -> bool:
    name = pair.partition("=")[0].lower()
    return name in TRACKING or name.startswith(TRACKING_PREFIXES)


def _encoded(part: str) -> str:
    # Percent-encodes what is not ASCII and leaves every character that has a meaning, '%' among them, as it stands.
    return urllib.parse.quote(part, safe="!$%&'()*+,-./:;=?@_~|#[]")


def host(address: str) -> str:
    """The host of an address as people name it, in small letters and without ``www.``; empty where there is none."""
    try:
        name = urllib.parse.urlsplit(address).hostname or ""
    except ValueError:
        return ""
    return name.removeprefix("www.")


def site(address: str) -> str:
    """Scheme and host of an address, as the place that an article comes from."""
    parts = urllib.parse.urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}/" if parts.netloc else ""
