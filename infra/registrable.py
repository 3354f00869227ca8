"""Which site a host belongs to, by the public suffix list that the library ships (https://publicsuffix.org/)."""

import functools
import ipaddress

from publicsuffixlist import PublicSuffixList


@functools.cache
def _suffixes() -> PublicSuffixList:
    # Only what registries hand out counts, not what platforms do: all of a platform's users are on its servers, and one
    # limit of those is meant for all of them.
    return PublicSuffixList(only_icann=True)


@functools.lru_cache(maxsize=4096)
def domain(host: str) -> str:
    """The registrable domain of a host name, in ASCII and lower case; an address, or a name without one, is its own.

    The list is the packaged one; nothing is fetched.
    """
    name = host.rstrip(".").lower()
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        pass  # a name
    try:
        name = name if name.isascii() else name.encode("idna").decode()
    except UnicodeError:
        return name
    return str(_suffixes().privatesuffix(name) or name)
