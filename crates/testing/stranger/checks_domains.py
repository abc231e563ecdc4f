"""Security domains."""

from host import ISD, PACKAGE, Plain, Wrong, find, h, lv, objects, tlv
from world import (
    DOMAIN,
    INSTANCE,
    entries,
    group,
    install_for_load,
    install_instance,
    load,
    load_file,
    make_domain,
    own_domain,
    session,
    status_list,
)


@group
def domains(world):
    """Security domains in each mode, their content, extradition and personalisation."""
    r = world.reader()
    other = Plain(world.reader("contactless"))
    block = load_file()
    two = h("F04F54534D00D2")
    for privileges, what in (
        ("80", "a plain domain"),
        ("808000", "trusted path"),
        ("804000", "authorised management"),
        ("C00000", "DAP verification"),
        ("A00000", "delegated management"),
        ("800200", "final application"),
    ):
        for parameters in ("C900", "C902" "8100", ""):
            try:
                make_domain(session(r), h(privileges), parameters=h(parameters))
            except Wrong as error:
                world.same(f"{what} with parameters {parameters}", str(error), "made")
                continue
            other.select(DOMAIN)
            fci = other.select(DOMAIN)
            world.same("its FCI", find(fci, "6F", "84"), DOMAIN)
            find(fci, "6F", "A5")
            other.ok(0xCA, 0, 0xE0, le=0)
            world.status("its recognition data", other.ask(0xCA, 0, 0x66, le=0), [0x9000, 0x6A88])
            world.status("its card data (9F7F)", other.ask(0xCA, 0x9F, 0x7F, le=0), [0x9000, 0x6A88])
            entry = entries(status_list(session(r), 0x40, DOMAIN))[DOMAIN.hex().upper()]
            want = h(privileges).ljust(3, b"\0")
            world.same("its privileges are listed", find(entry, "C5"), want)
            # The contactless interface has it selected last.
            other.select(ISD)
            session(r).ok(0xE4, 0, 0, tlv("4F", DOMAIN), 0)
    # An AMSD manages its own content; the issuer cannot take part.
    new = own_domain(world, r, h("804000"))
    card = session(r, DOMAIN, keys=new)
    card.ok(0xE6, 2, 0, install_for_load(PACKAGE, DOMAIN), 0)
    load(card, block)
    install_instance(card)
    listed = entries(status_list(card, 0x40))
    world.same("a domain sees what is its own", INSTANCE.hex().upper() in listed, True)
    world.status(
        "an SSD is not asked for the ISD", card.ask(0xF2, 0x80, 2, h("4F00"), 0), [0x6A86, 0x6A88, 0x9000]
    )
    world.same("its load file", list(entries(status_list(card, 0x20))), [PACKAGE.hex().upper()])
    issuer = session(r)
    world.same(
        "the issuer sees it too",
        find(entries(status_list(issuer, 0x40, INSTANCE))[INSTANCE.hex().upper()], "CC"),
        DOMAIN,
    )
    # The issuer's global delete and global lock.
    issuer.ok(0xF0, 0x40, 0x80, DOMAIN)
    world.status("a locked domain", other.ask(0xA4, 4, 0, DOMAIN, 0, base=0), [0x6283, 0x6A82, 0x6999])
    issuer.ok(0xF0, 0x40, 0x00, DOMAIN)
    other.select(DOMAIN)
    other.select(ISD)
    # SSD with all that is in it: P1 60 locks a domain and its applications.
    world.status(
        "lock of a domain with its applications", issuer.ask(0xF0, 0x60, 0x80, DOMAIN), [0x9000, 0x6A86]
    )
    issuer.ask(0xF0, 0x60, 0x00, DOMAIN)
    world.status("a domain with content", issuer.ask(0xE4, 0, 0, tlv("4F", DOMAIN), 0), 0x6985)
    # Extradition to another domain, and back by its own.
    own2 = own_domain(world, r, h("804000"), two)
    card = session(r, DOMAIN, keys=new)
    extradite = lambda to, what: lv(to) + b"\0" + lv(what) + b"\0" + b"\0" + b"\0"
    world.status("extradition", card.ask(0xE6, 0x10, 0, extradite(two, INSTANCE), 0), 0x9000)
    world.same(
        "it belongs to the other",
        find(entries(status_list(session(r), 0x40, INSTANCE))[INSTANCE.hex().upper()], "CC"),
        two,
    )
    card = session(r, two, keys=own2)
    world.status("and goes back", card.ask(0xE6, 0x10, 0, extradite(DOMAIN, INSTANCE)[:-1]), 0x9000)
    # Personalisation through the domain: STORE DATA in each form.
    card = session(r, DOMAIN, keys=new)
    card.ok(0xE6, 0x20, 0, b"\0\0" + lv(INSTANCE) + b"\0\0\0", 0)
    for what, p1, data in (
        ("DGI", 0x88, h("010103AABBCC")),
        ("BER", 0x90, tlv("9F01", h("AA"))),
        ("no structure", 0x80, h("AA")),
    ):
        card = session(r, DOMAIN, keys=new)
        card.ok(0xE6, 0x20, 0, b"\0\0" + lv(INSTANCE) + b"\0\0\0", 0)
        world.status(
            "STORE DATA to an application, " + what,
            card.ask(0xE2, p1, 0, data, 0),
            [0x9000, 0x6A88, 0x6A80, 0x6985, 0x6A86, 0x6D00],
        )
    # STORE DATA to the domains themselves.
    for what, p1, data, read in (
        ("IIN", 0x90, tlv("42", h("62420001")), 0x42),
        ("CIN", 0x90, tlv("45", h("1122334455")), 0x45),
        ("two objects, no structure bits", 0x80, tlv("42", h("62420002")) + tlv("45", h("AABB")), 0x42),
        ("manager URL", 0x90, tlv("5F50", b"http://example.invalid/"), 0x5F50),
        ("an object as a DGI", 0x88, h("00420462420003"), None),
    ):
        card = session(r)
        answer = card.ask(0xE2, p1, 0, data, 0)
        optional = [0x9000, 0x6A80, 0x6A86, 0x6A88]
        world.status("STORE DATA, " + what, answer, optional if read in (None, 0x5F50) else 0x9000)
        if read and answer[1] == 0x9000:
            first = next(objects(data))[1]
            got = list(objects(card.ok(0xCA, read >> 8, read & 0xFF, le=0)))[0][1]
            world.same("it is read again, " + what, got, first)
    # In two blocks: by objects, and with an object split between them.
    for cut in (6,):
        card = session(r)
        two_objects = tlv("42", h("62420004")) + tlv("45", h("A1A2A3"))
        card.ok(0xE2, 0x10, 0, two_objects[:cut], 0)
        world.status("the second of two blocks", card.ask(0xE2, 0x90, 1, two_objects[cut:], 0), 0x9000)
        world.same("both are stored", card.ok(0xCA, 0, 0x45, le=0), tlv("45", h("A1A2A3")))
    card = session(r)
    world.status(
        "blocks out of order", card.ask(0xE2, 0x90, 5, tlv("45", h("AA")), 0), [0x6985, 0x6A86, 0x6A80]
    )
    # A rename of the ISD is what one host sends; the answer is free, but the ISD stays selectable.
    world.status(
        "the ISD is renamed",
        card.ask(0xE2, 0x90, 0, tlv("4F", h("A0000001510000AA")), 0),
        [0x9000, 0x6A80, 0x6A88, 0x6985],
    )
    Plain(r).select(ISD)
    card = session(r, DOMAIN, keys=new)
    world.status("a domain deletes its own", card.ask(0xE4, 0, 0x80, tlv("4F", PACKAGE), 0), 0x9000)
    world.status("and not another", card.ask(0xE4, 0, 0, tlv("4F", two), 0), [0x6985, 0x6A88, 0x6982])
    issuer = session(r)
    for aid in (DOMAIN, two):
        issuer.ok(0xE4, 0, 0x80, tlv("4F", aid), 0)
    r.close()
