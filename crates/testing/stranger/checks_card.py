"""Logical channels, bytes that are no command, and the life cycle of the card."""

import os
import struct

from host import ISD, PACKAGE, Plain, Scp02, Scp03, Wrong, find, h
from world import (
    INSTANCE,
    entries,
    group,
    install_for_load,
    install_instance,
    load,
    load_file,
    session,
    status_list,
)


@group
def channels(world):
    """Logical channels 0 to 19, on both interfaces."""
    r, s = world.reader(), world.reader("contactless")
    for reader in (r, s):
        opened = [Plain(reader).ok(0x70, 0, 0, le=1, base=0)[0] for _ in range(3)]
        world.same("channels are given in order", opened, [1, 2, 3])
        more = []
        while True:
            answer, status = Plain(reader).ask(0x70, 0, 0, le=1, base=0)
            if status != 0x9000:
                break
            more.append(answer[0])
        world.same("as far as there are", more, list(range(4, 20)), [])
        world.same("then none is left", status, 0x6A81, 0x6881)
        for n in opened + more:
            card = Plain(reader, n)
            world.same(
                "a new channel has the ISD", find(card.ok(0xA4, 4, 0, b"", 0, base=0), "6F", "84"), ISD
            )
            card.ok(0xCA, 0, 0x66, le=0)
        for n in opened[:1] + more[:2] + more[-1:]:
            for level in (1, 3):
                card = session(reader, channel=n, level=level)
                status_list(card, 0x40)
                card.ok(0xCA, 0, 0xE0, le=0)
            # The session of one channel is not that of another.
            world.status("channel 0 has no session", Plain(reader).ask(0xF2, 0x80, 2, h("4F00"), 0), 0x6982)
        for n in more[::-1] + opened:
            Plain(reader).ok(0x70, 0x80, n, base=0)
            world.status("a closed channel", Plain(reader, n).ask(0xCA, 0, 0x66, le=0), 0x6881)
        world.status(
            "close what is closed",
            Plain(reader).ask(0x70, 0x80, 3, base=0),
            [0x6200, 0x9000, 0x6A86, 0x6881, 0x6A88, 0x6985],
        )
        Plain(reader).ok(0x70, 0, 2, base=0)
        world.status(
            "open by number what is open",
            Plain(reader).ask(0x70, 0, 2, base=0),
            [0x6A86, 0x6881, 0x6985, 0x6A81],
        )
        world.status(
            "close channel 0", Plain(reader).ask(0x70, 0x80, 0, base=0), [0x6A81, 0x6881, 0x6A86, 0x6985]
        )
        # From channel 2 a close without number.
        world.status(
            "close the channel one is on",
            Plain(reader, 2).ask(0x70, 0x80, 0, base=0),
            [0x9000, 0x6A81, 0x6881, 0x6A86, 0x6985],
        )
        reader.reset()
    # Sessions on both interfaces at once, in turns.
    one, two = session(r), session(s)
    for _ in range(3):
        status_list(one, 0x40)
        status_list(two, 0x40)
    # SELECT on a channel that is not open opens it (ISO 7816-4), or is refused.
    world.status("SELECT on a closed channel", Plain(r, 1).ask(0xA4, 4, 0, ISD, 0, base=0), [0x9000, 0x6881])
    r.close()
    s.close()


@group
def malformed(world):
    """Bytes that are no APDU, and APDUs that contradict themselves."""
    r = world.reader()
    card = Plain(r)
    for text, want in (
        ("80CA", [0x6700]),
        ("80CA00", [0x6700]),
        ("80CA006600FF", [0x6700]),
        ("80CA0066000000", [0x9000]),
        ("80E2900005AABB", [0x6700]),
        ("80E29000000001", [0x6700, 0x6982]),
        ("80E2900000000100", [0x6700, 0x6982]),
        ("FF00000000", [0x6E00, 0x6881]),
        ("00A4040009A00000015100000000", [0x6A82, 0x6700, 0x9000]),
        ("00A4040011" + "AA" * 17 + "00", [0x6A80, 0x6A82, 0x6700]),
        ("00A4040001AA00", [0x6A82, 0x6A80, 0x6700]),
        ("00A40401", [0x6A86, 0x6A82, 0x9000]),
        ("00A4040400", [0x6A86, 0x9000]),
        ("80F28002024F00", [0x6982]),
        ("80508000084142434445464748", [0x6A88, 0x6A86]),
        ("8050000008", [0x6700]),
        ("10A4040008A00000015100000000", [0x6884, 0x6E00, 0x9000]),
        ("90CA006600", [0x6884, 0x6E00, 0x9000]),
        ("20CA006600", [0x6E00, 0x6881]),
        ("84CA006600", [0x6982]),
        ("88CA006600", [0x6E00, 0x6882, 0x6982, 0x9000]),
        ("8CCA006600", [0x6E00, 0x6882, 0x6982]),
        ("00C0000000", [0x6985, 0x6D00, 0x6A86, 0x6E00, 0x6700]),
        ("A000000000", [0x6E00]),
        ("00000000", [0x6D00]),
        ("00B2010400", [0x6D00, 0x6986, 0x6E00]),
        ("006000000000", [0x6D00, 0x6700]),
        ("0090000000", [0x6D00]),
        ("80E60C0000", [0x6982, 0x6700]),
    ):
        world.status(text, r.raw(text), want)
        card.ok(0xCA, 0, 0x66, le=0)
    r.wire.sendall(struct.pack(">H", 0))
    r.close()
    r = world.reader()
    Plain(r).ok(0xCA, 0, 0x66, le=0)
    big = bytes([0x80, 0xE2, 0x90, 0, 0, 0xFF, 0xFF]) + bytes(65535 - 7 - 0)
    world.status("Lc FFFF with less data", r.raw(big), [0x6700])
    for p1 in range(0, 256, 5):
        for ins in (0xE6, 0xE8, 0xE4, 0xD8, 0xF0, 0xF2, 0xE2, 0x50, 0x82, 0x70, 0xA4, 0xCA, 0x78, 0x7A):
            answer, status = r.raw(
                bytes([0x80 if ins not in (0xA4, 0x70) else 0, ins, p1, p1 ^ 0x5A, 3, 1, 2, 3, 0])
            )
            if status >> 12 not in (6, 9):
                raise Wrong(f"no status: {status:04X}")
            if status == 0x6F00:
                world.same(f"INS {ins:02X} {p1:02X}", status, 0)
    world.reader("contactless").answer_to_reset()
    # Inside a session, random data at every management command.
    card = session(r)
    for n in range(400):
        ins = (0xE6, 0xE8, 0xE4, 0xD8, 0xF0, 0xF2, 0xE2, 0xCA)[n % 8]
        p1 = (0x02, 0x0C, 0x80, 0x10, 0x20, 0x40, 0x00, 0x90)[n // 8 % 8]
        if ins == 0xF0 and p1 == 0x80:
            continue
        answer, status = card.ask(ins, p1, 0, os.urandom(n % 60), 0)
        if status in (0x6982, 0x6F00):
            world.same(f"{ins:02X} {p1:02X}: the session lives", status, 0)
    r.close()


@group
def life_cycle(world):
    """The card's own states, the last of them for good."""
    r = world.reader()
    card = session(r)
    state = lambda c: find(entries(status_list(c, 0x80))[ISD.hex().upper()], "9F70")
    world.same("a new card", state(card), h("01"), h("07"), h("0F"))
    if state(card) == h("01"):
        world.status(
            "OP_READY to SECURED is no step", card.ask(0xF0, 0x80, 0x0F, b""), [0x6985, 0x6A80, 0x9000]
        )
        if state(card) == h("01"):
            card.ok(0xF0, 0x80, 0x07)
    if state(card) == h("07"):
        world.status("INITIALIZED to OP_READY", card.ask(0xF0, 0x80, 0x01, b""), [0x6985, 0x6A80])
        card.ok(0xF0, 0x80, 0x0F, ISD)
    world.same("SECURED", state(card), h("0F"))
    world.status("SECURED to INITIALIZED", card.ask(0xF0, 0x80, 0x07, b""), [0x6985, 0x6A80])
    # A secured card wants a C-MAC.
    clear = session(r, level=0)
    world.status("management at level 00", clear.ask(0xE6, 2, 0, install_for_load(PACKAGE), 0), 0x6982)
    card = session(r)
    card.ok(0xE6, 2, 0, install_for_load(PACKAGE), 0)
    load(card, load_file())
    install_instance(card)
    card = session(r)
    card.ok(0xF0, 0x80, 0x7F)
    plain = Plain(r)
    _, status = plain.ask(0xA4, 4, 0, ISD, 0, base=0)
    world.same("SELECT of the ISD on a locked card", status, 0x6283, 0x9000)
    world.status(
        "SELECT of an application",
        plain.ask(0xA4, 4, 0, INSTANCE, 0, base=0),
        [0x6A82, 0x6A81, 0x6999, 0x6283],
    )
    plain.ok(0xCA, 0, 0x66, le=0)
    answer, status = plain.ask(0xA4, 4, 0, b"", 0, base=0)
    world.same("default SELECT on a locked card", status, 0x6283, 0x9000)
    locked = Scp03(r, 1) if isinstance(card, Scp03) else Scp02(r, 1)
    world.status(
        "INSTALL on a locked card",
        locked.ask(0xE6, 2, 0, install_for_load(h("F04F54534D0109")), 0),
        [0x6985, 0x6A81, 0x6982, 0x6D00, 0x6A86],
    )
    locked.ok(0xF0, 0x80, 0x0F)
    Plain(r).select(INSTANCE)
    card = session(r)
    card.ok(0xF0, 0x80, 0xFF)
    r.reset()
    plain = Plain(r)
    answer = plain.ask(0xA4, 4, 0, ISD, 0, base=0)
    print(
        "terminated: SELECT",
        f"{answer[1]:04X}",
        "GET DATA",
        f"{plain.ask(0xCA, 0, 0x66, le=0)[1]:04X}",
        "IU",
        f"{plain.ask(0x50, 0, 0, bytes(8), 0)[1]:04X}",
    )
    world.same("SELECT on a terminated card", answer[1], 0x6A81, 0x6283, 0x6985, 0x6A82, 0x9000)
    world.same(
        "INITIALIZE UPDATE on a terminated card", plain.ask(0x50, 0, 0, bytes(8), 0)[1] != 0x9000, True
    )
    world.status("GET DATA on a terminated card", plain.ask(0xCA, 0, 0x66, le=0), 0x9000)
    r.close()
