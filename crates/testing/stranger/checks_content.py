"""Loading, installing, listing and deleting content, and the memory it takes."""

import struct

from host import ISD, MODULE, PACKAGE, Plain, SSD_FILE, Scp03, Wrong, find, h, hashes, lv, objects, tlv
from world import (
    DOMAIN,
    INSTANCE,
    entries,
    free_memory,
    group,
    install_for_install,
    install_for_load,
    install_instance,
    load,
    load_file,
    make_domain,
    session,
    status_list,
)


@group
def content(world):
    """Loads, installs, lists and deletes in every form that hosts use."""
    r = world.reader()
    other = Plain(world.reader("contactless"))
    block = load_file()
    digest = hashes.Hash(hashes.SHA1())
    digest.update(block)
    sha1 = digest.finalize()
    digest = hashes.Hash(hashes.SHA256())
    digest.update(block)
    sha256 = digest.finalize()
    size = len(block)
    forms = [
        # (INSTALL [for load] data, block size, Le)
        (install_for_load(PACKAGE), 239, 0),
        (install_for_load(PACKAGE, ISD), 32, None),
        (install_for_load(PACKAGE, ISD, sha1), 100, 0),
        (install_for_load(PACKAGE, b"", sha256), 200, None),
        (install_for_load(PACKAGE, ISD, b"", tlv("EF", tlv("C6", struct.pack(">H", size)))), 128, 0),
        (
            install_for_load(
                PACKAGE,
                ISD,
                b"",
                tlv("EF", tlv("C6", struct.pack(">I", size)) + tlv("C7", h("0010")) + tlv("C8", h("0100"))),
            ),
            223,
            0,
        ),
        (install_for_load(PACKAGE, ISD, b"", tlv("EF", b"")), 255, 0),
    ]
    for level in (0, 1, 3):
        for data, block_size, le in forms:
            card = session(r, level=level)
            overhead = {0: 0, 1: 8, 3: 24}[level]
            answer = card.ok(0xE6, 2, 0, data, le)
            world.same("INSTALL [for load] answers 00", answer, b"\0", b"")
            answer = load(card, block, min(block_size, 255 - overhead), le)
            world.same("the last LOAD answers 00", answer, b"\0", b"")
            answer = install_instance(card)
            world.same("INSTALL [for install] answers 00", answer, b"\0")
            other.select(INSTANCE)
            listed = entries(status_list(card, 0x10))
            entry = listed.get(PACKAGE.hex().upper())
            world.same("the load file is listed", entry is not None, True)
            world.same("with its version", find(entry, "CE"), h("0100"))
            world.same("and module", find(entry, "84"), MODULE)
            world.same("and domain", find(entry, "CC"), ISD)
            answer = card.ok(0xE4, 0, 0x80, tlv("4F", PACKAGE), le)
            world.same("DELETE answers 00", answer, b"\0", b"")
            other.select(INSTANCE, sw=0x6A82)
    # Large files: 247-byte blocks, more blocks than P2 can count, extended length.
    card = session(r, level=1)
    for filler, block_size in ((3000, 247), (9000, 32)) + (
        ((4000, 1000), (20000, 4000)) if isinstance(card, Scp03) else ()
    ):
        card.ok(0xE6, 2, 0, install_for_load(PACKAGE, ISD), 0)
        load(card, load_file(filler=filler, descriptor=True), block_size, 0)
        card.ok(0xE4, 0, 0, tlv("4F", PACKAGE), 0)
    # 255 bytes of plain data in the clear.
    card = session(r, level=0)
    card.ok(0xE6, 2, 0, install_for_load(PACKAGE, ISD), 0)
    load(card, load_file(filler=900), 255, 0)
    card.ok(0xE4, 0, 0, tlv("4F", PACKAGE))
    # What goes wrong in a load.
    card = session(r)
    refused = [0x6985, 0x6A80, 0x6A86, 0x6A88]
    world.status("LOAD without INSTALL", card.ask(0xE8, 0x80, 0, tlv("C4", block), 0), refused)
    card.ok(0xE6, 2, 0, install_for_load(PACKAGE), 0)
    world.status("the first block is 01", card.ask(0xE8, 0, 1, tlv("C4", block)[:50], 0), refused)
    card.ok(0xE6, 2, 0, install_for_load(PACKAGE), 0)
    card.ok(0xE8, 0, 0, tlv("C4", block)[:50], 0)
    world.status("a block is skipped", card.ask(0xE8, 0, 2, tlv("C4", block)[50:60], 0), refused)
    card.ok(0xE6, 2, 0, install_for_load(PACKAGE), 0)
    world.status("a file cut short", card.ask(0xE8, 0x80, 0, tlv("C4", block)[:50], 0), refused)
    card.ok(0xE6, 2, 0, install_for_load(PACKAGE, ISD, bytes(20)), 0)
    world.status("a wrong hash", card.ask(0xE8, 0x80, 0, tlv("C4", block), 0), refused + [0x6982])
    card.ok(0xE6, 2, 0, install_for_load(h("F04F54534D0109")), 0)
    world.status("a file of another AID", card.ask(0xE8, 0x80, 0, tlv("C4", block), 0), refused)
    card.ok(0xE6, 2, 0, install_for_load(PACKAGE), 0)
    card.ok(0xCA, 0, 0x66, le=0)
    status_list(card, 0x40)
    world.status(
        "other commands may stand between INSTALL and LOAD",
        card.ask(0xE8, 0x80, 0, tlv("C4", block), 0),
        [0x9000, 0x6985],
    )
    card = session(r)
    if PACKAGE.hex().upper() not in entries(status_list(card, 0x20)):
        card.ok(0xE6, 2, 0, install_for_load(PACKAGE), 0)
        load(card, block)
    world.status(
        "the same file again", card.ask(0xE6, 2, 0, install_for_load(PACKAGE), 0), [0x6985, 0x6A80, 0x6A89]
    )
    world.status(
        "into an unknown domain",
        card.ask(0xE6, 2, 0, install_for_load(h("F04F54534D0109"), h("F04F54534D77")), 0),
        [0x6A88, 0x6A80, 0x6985, 0x6A82],
    )
    # INSTALL forms of hosts.
    one, two = h("F04F54534D0105010101"), h("F04F54534D0105010102")
    long = h("F04F54534D010501") + bytes(8)
    for what, data in (
        ("no parameters at all", install_for_install(PACKAGE, MODULE, one, parameters=b"")),
        ("three privilege bytes", install_for_install(PACKAGE, MODULE, one, privileges=bytes(3))),
        ("an AID of 16 bytes", install_for_install(PACKAGE, MODULE, long)),
        ("module and instance of one AID", install_for_install(PACKAGE, MODULE, MODULE)),
        (
            "C9 and quotas",
            install_for_install(
                PACKAGE,
                MODULE,
                one,
                parameters=h("C90101") + tlv("EF", tlv("C7", h("0020")) + tlv("C8", h("0040"))),
            ),
        ),
        (
            "quotas before C9",
            install_for_install(
                PACKAGE,
                MODULE,
                one,
                parameters=tlv("EF", tlv("C8", h("0040")) + tlv("C7", h("0020"))) + h("C90101"),
            ),
        ),
        (
            "reserved memory and implicit selection",
            install_for_install(
                PACKAGE,
                MODULE,
                one,
                parameters=h("C900") + tlv("EF", tlv("D7", h("0020")) + tlv("D8", h("0040"))),
            ),
        ),
        (
            "UICC parameters (EA)",
            install_for_install(PACKAGE, MODULE, one, parameters=h("C900") + tlv("EA", tlv("80", bytes(6)))),
        ),
        (
            "parameters with the length in one byte",
            b"".join(map(lv, (PACKAGE, MODULE, one, b"\0")))
            + b"\x8b"
            + h("C900")
            + tlv("EF", tlv("E8", bytes(131))),
        ),
        (
            "parameters of 140 bytes, by a BER length",
            install_for_install(
                PACKAGE, MODULE, one, parameters=h("C900") + tlv("EF", tlv("E8", bytes(130)))
            ),
        ),
        ("C9 with a two-byte length", install_for_install(PACKAGE, MODULE, one, parameters=h("C98101FF"))),
    ):
        world.status(what, card.ask(0xE6, 0x0C, 0, data, 0), 0x9000)
        at = 1 + data[0]
        at += 1 + data[at]
        name = data[at + 1 : at + 1 + data[at]]
        other.select(name)
        world.status("it goes again", card.ask(0xE4, 0, 0, tlv("4F", name), 0), 0x9000)
    # Install now, make selectable later; then the status forms.
    card.ok(0xE6, 4, 0, install_for_install(PACKAGE, MODULE, one), 0)
    other.select(one, sw=0x6A82)
    world.same("INSTALLED", find(entries(status_list(card, 0x40))[one.hex().upper()], "9F70"), h("03"))
    card.ok(0xE6, 8, 0, b"\0\0" + lv(one) + lv(b"\0") + b"\0\0", 0)
    other.select(one)
    card.ok(0xE6, 0x0C, 0, install_for_install(PACKAGE, MODULE, two), 0)
    world.same(
        "search by prefix",
        sorted(entries(status_list(card, 0x40, h("F04F54534D01050101")))),
        [one.hex().upper(), two.hex().upper()],
    )
    world.same("search by AID", list(entries(status_list(card, 0x40, two))), [two.hex().upper()])
    world.status("search for nothing", card.ask(0xF2, 0x40, 2, tlv("4F", h("F04F54534D0199")), 0), 0x6A88)
    world.same("the ISD alone at 80", list(entries(status_list(card, 0x80))), [ISD.hex().upper()])
    every = entries(status_list(card, 0x40, tags=h("4F9F70C5CCC4CFCE84")))[one.hex().upper()]
    world.same(
        "all tags asked for",
        [find(every, "9F70"), find(every, "CC"), find(every, "C4")],
        [h("07"), ISD, PACKAGE],
    )
    few = status_list(card, 0x40, tags=h("4F9F70C5CC"))
    world.same("the tags of one host", {t for t, _ in objects(find(few, "E3"))}, {"4F", "9F70", "C5", "CC"})
    world.status("combined P1 60", card.ask(0xF2, 0x60, 2, tlv("4F", b""), 0), [0x9000, 0x6A86])
    world.status("combined P1 E0", card.ask(0xF2, 0xE0, 2, tlv("4F", b""), 0), [0x9000, 0x6310, 0x6A86])
    world.status("combined P1 C0", card.ask(0xF2, 0xC0, 2, tlv("4F", b""), 0), [0x9000, 0x6A86])
    world.status(
        "next without first", card.ask(0xF2, 0x40, 3, tlv("4F", b""), 0), [0x6985, 0x6A86, 0x6A80, 0x6A88]
    )
    world.status("P1 00", card.ask(0xF2, 0, 2, tlv("4F", b""), 0), 0x6A86)
    world.status("no search criterion", card.ask(0xF2, 0x40, 2, le=0), [0x6A80, 0x9000])
    old = status_list(card, 0x40, form=0)
    names, at = [], 0
    while at < len(old):
        n = old[at]
        names.append(old[at + 1 : at + 1 + n].hex().upper())
        at += n + 3
    world.same("the old form lists the same", sorted(names), sorted(entries(status_list(card, 0x40))))
    old, at, found = status_list(card, 0x10, form=0), 0, {}
    while at < len(old):
        n = old[at]
        name, at = old[at + 1 : at + 1 + n], at + 1 + n + 2
        modules, at = old[at], at + 1
        found[name] = []
        for _ in range(modules):
            found[name].append(old[at + 1 : at + 1 + old[at]])
            at += 1 + old[at]
    world.same("the old form of modules", found.get(PACKAGE), [MODULE])
    # Paging: more applications than one answer takes.
    many = [h("F04F54534D010501") + bytes([0xB0, n]) for n in range(60)]
    for aid in many:
        install_instance(card, aid)
    for form in (0, 2):
        data = status_list(card, 0x40, form=form)
        world.same("all are listed, page by page", all(a in data for a in many), True)
    answer, status = card.ask(0xF2, 0x40, 2, tlv("4F", b""), 0)
    world.same("more is announced", (status, len(answer) <= 256), (0x6310, True))
    listed = [t for t, _ in objects(answer)]
    world.same("a page holds whole entries", set(listed), {"E3"})
    # Life cycle of applications.
    for p2, sw in (
        (0x80, 0x9000),
        (0x00, 0x9000),
        (0x83, [0x9000, 0x6A80, 0x6985]),
        (0x07, [0x9000, 0x6A80, 0x6985]),
    ):
        world.status(f"SET STATUS 40 {p2:02X}", card.ask(0xF0, 0x40, p2, one), sw)
    card.ask(0xF0, 0x40, 0x80, one)
    world.same("locked", find(entries(status_list(card, 0x40, one))[one.hex().upper()], "9F70"), h("87"))
    _, status = other.ask(0xA4, 4, 0, one, 0, base=0)
    world.same("a locked application", status, 0x6A82)
    card.ok(0xF0, 0x40, 0x00, one)
    other.select(one)
    # A package in use, unknown AIDs, forms of DELETE.
    world.status("a package with instances", card.ask(0xE4, 0, 0, tlv("4F", PACKAGE), 0), 0x6985)
    world.status("DELETE of nothing", card.ask(0xE4, 0, 0, tlv("4F", h("F04F54534D0199")), 0), 0x6A88)
    world.status("DELETE of the ISD", card.ask(0xE4, 0, 0, tlv("4F", ISD), 0), [0x6985, 0x6A88, 0x6A80])
    world.status(
        "DELETE of the domains' load file",
        card.ask(0xE4, 0, 0, tlv("4F", SSD_FILE), 0),
        [0x6985, 0x6A88, 0x6A80, 0x9000],
    )
    world.status("DELETE, no Le", card.ask(0xE4, 0, 0, tlv("4F", one)), 0x9000)
    world.status(
        "DELETE with CRT",
        card.ask(0xE4, 0, 0, tlv("4F", two) + tlv("B6", tlv("42", h("62410000")) + tlv("45", h("01"))), 0),
        [0x9000, 0x6A80],
    )
    world.status(
        "DELETE of a package and all that is of it", card.ask(0xE4, 0, 0x80, tlv("4F", PACKAGE), 0), 0x9000
    )
    world.same("nothing is left", [a for a in entries(status_list(card, 0x40)) if a.startswith("F0")], [])
    world.same("nor a file", [a for a in entries(status_list(card, 0x20)) if a.startswith("F0")], [])
    r.close()


@group
def memory(world):
    """FF21 goes down with content and comes back with its deletion."""
    r = world.reader()
    card = session(r)
    start = free_memory(card)
    for _ in range(3):
        block = load_file(filler=5000)
        card.ok(0xE6, 2, 0, install_for_load(PACKAGE), 0)
        load(card, block)
        loaded = free_memory(card)
        world.same("a load takes at least its size", start[1] - loaded[1] >= len(block), True)
        world.same("and little more", start[1] - loaded[1] < len(block) + 200, True)
        install_instance(card)
        installed = free_memory(card)
        world.same("one application more", installed[0], loaded[0] + 1)
        world.same("an instance takes memory", installed[1] < loaded[1], True)
        card.ok(0xE4, 0, 0x80, tlv("4F", PACKAGE), 0)
        world.same("all is free again", free_memory(card), start)
    # More than there is.
    card.ok(0xE6, 2, 0, install_for_load(PACKAGE), 0)
    try:
        load(card, load_file(filler=60000) * 10)
        world.same("a file larger than the memory", "loaded", "refused")
    except Wrong as error:
        world.same("a file larger than the memory", "6A84, not" in str(error), True)
    card = session(r)
    world.same("nothing was taken", free_memory(card), start)
    size = start[1] + 1
    for what, parameters in (
        ("C8", tlv("EF", tlv("C8", struct.pack(">I", size)))),
        ("C6", tlv("EF", tlv("C6", struct.pack(">I", size)))),
    ):
        world.status(
            "more asked for than there is, " + what,
            card.ask(0xE6, 2, 0, install_for_load(PACKAGE, b"", b"", parameters), 0),
            0x6A84,
        )
    # A domain of fixed space.
    card = session(r)
    make_domain(
        card,
        h("804000"),
        parameters=h("C900") + tlv("EF", tlv("C8", struct.pack(">I", 20000)) + tlv("C7", h("0400"))),
    )
    reserved = free_memory(session(r))
    print("a domain with C8 4E20 takes", start[1] - reserved[1])
    Plain(r).select(DOMAIN)
    inner = Plain(r).ask(0xCA, 0xFF, 0x21, le=0)
    print("FF21 of the domain", inner[0].hex(), f"{inner[1]:04X}")
    session(r).ok(0xE4, 0, 0, tlv("4F", DOMAIN), 0)
    world.same("all is free again", free_memory(session(r)), start)
    r.close()
