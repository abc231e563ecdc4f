#!/usr/bin/env python3
"""A GlobalPlatform host that shares no code with the card it drives.

Usage: gp_host.py [--scp02-i HEX] [--tries N] CONTACT CONTACTLESS GROUP...
       with addresses HOST:PORT of a card that speaks the frames of vpcd, what its SCP02 offers
       (15, 35, 55, 75) and how many failed authentications it bears.

Each group of checks does what hosts and readers in the field do, byte for byte, and says what it
did. The first wrong answer ends the program with status 1. Besides the standard library it needs
the `cryptography` package (Debian: python3-cryptography).

Protocols: GlobalPlatform Card Specification 2.3.1 with amendments D (SCP03) and E (elliptic
curves); PBOC 2.0 part 2 for the purse.
"""

import argparse
import sys

import checks_card
import checks_content
import checks_domains
import checks_keys
import checks_sessions
import checks_transit
from host import TRACE, Wrong
from world import GROUPS, World

# Each module adds its groups when it is imported.
MODULES = (checks_sessions, checks_content, checks_keys, checks_domains, checks_card, checks_transit)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scp02-i", type=lambda text: int(text, 16), default=0x55)
    parser.add_argument("--tries", type=int, default=100)
    parser.add_argument("contact")
    parser.add_argument("contactless")
    parser.add_argument("groups", nargs="+", choices=sorted(GROUPS))
    options = parser.parse_args()
    world = World(options)
    for name in options.groups:
        before = len(world.failures)
        try:
            GROUPS[name](world)
        except Wrong as error:
            world.failures.append(f"{name}: {error}")
            print("WRONG", world.failures[-1])
            if TRACE:
                raise
        if len(world.failures) == before:
            print(name, "agrees")
    print(world.count, "answers compared")
    if world.failures:
        sys.exit("the card and this host disagree:\n" + "\n".join(world.failures))


if __name__ == "__main__":
    main()
