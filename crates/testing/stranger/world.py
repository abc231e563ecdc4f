"""What the checks share: the card under test, its registry, load files, keys and domains."""

import os
import struct

from host import (
    ISD,
    KEY,
    MODULE,
    PACKAGE,
    Plain,
    Reader,
    SSD_FILE,
    SSD_MODULE,
    Scp02,
    Scp03,
    Wrong,
    aes,
    des3,
    find,
    h,
    hashes,
    lv,
    objects,
    tlv,
)

GROUPS = {}


def group(function):
    GROUPS[function.__name__] = function
    return function


class World:
    """The addresses of one card and what went wrong with it."""

    def __init__(self, options):
        self.addresses = {"contact": options.contact, "contactless": options.contactless}
        self.scp02_i, self.tries = options.scp02_i, options.tries
        self.failures = []
        self.count = 0

    def reader(self, interface="contact"):
        return Reader(self.addresses[interface])

    def same(self, what, got, *wanted):
        """`wanted`: the one answer, or all that the standards leave open."""
        self.count += 1
        if got not in wanted:
            show = lambda x: (
                x.hex().upper() if isinstance(x, bytes) else f"{x:04X}" if isinstance(x, int) else str(x)
            )
            self.failures.append(f"{what}: {show(got)}, not {' or '.join(map(show, wanted))}")
            print("WRONG", self.failures[-1])

    def status(self, what, answer, want):
        self.same(what, answer[1], *(want if isinstance(want, list) else [want]))
        return answer[0]


def session(reader, aid=ISD, level=1, version=0, keys=(KEY,) * 3, channel=0, **more):
    """Selects a domain and opens the protocol that the answer to INITIALIZE UPDATE names."""
    plain = Plain(reader, channel)
    plain.select(aid)
    probe = plain.ok(0x50, version, 0, bytes(8), 0)
    kind = {2: Scp02, 3: Scp03}[probe[11]]
    return kind(reader, level, version, keys, channel, **more)


def status_list(card, p1, aid=b"", tags=b"", form=2):
    """All of GET STATUS, page by page."""
    data = tlv("4F", aid) + (tlv("5C", tags) if tags else b"")
    out, p2 = b"", form
    while True:
        answer, status = card.ask(0xF2, p1, p2, data, 0)
        if status == 0x6A88:
            return out
        if status not in (0x9000, 0x6310):
            raise Wrong(f"GET STATUS {p1:02X} {p2:02X}: {status:04X}")
        out += answer
        if status == 0x9000:
            return out
        p2 = form | 1


def entries(data):
    return {find(value, "4F").hex().upper(): value for tag, value in objects(data) if tag == "E3"}


def component(tag, body):
    return bytes([tag]) + struct.pack(">H", len(body)) + body


def load_file(package=PACKAGE, modules=(MODULE,), descriptor=False, filler=0, version=(1, 0)):
    """The load file data block of a package that refers to nothing, as off-card linkers write it."""
    aid = lambda value: bytes([len(value)]) + value
    header = component(1, h("DECAFFED0102") + bytes([4, version[1], version[0]]) + aid(package))
    applet = component(3, bytes([len(modules)]) + b"".join(aid(m) + b"\0\1" for m in modules))
    imports = component(4, b"\0")
    classes = component(6, b"")
    method = component(7, b"\0" + bytes([0x01, 0x10, 0x7A]) + b"\x7a" * filler)
    statics = component(8, bytes(10))
    pool = component(5, b"\0\0")
    references = component(9, bytes(4))
    describing = component(11, b"\0\0\0") if descriptor else b""
    sizes = [
        len(x) - 3 if x else 0
        for x in (
            header,
            None or b"",
            applet,
            imports,
            pool,
            classes,
            method,
            statics,
            references,
            b"",
            describing,
        )
    ]
    sizes[1] = 31
    directory = component(
        2, b"".join(struct.pack(">H", n) for n in sizes) + bytes(6) + bytes([0, len(modules), 0])
    )
    return header + directory + imports + applet + classes + method + statics + pool + references + describing


def install_for_load(package, domain=b"", digest=b"", parameters=b"", token=b""):
    return b"".join(map(lv, (package, domain, digest, parameters, token)))


def install_for_install(package, module, instance, privileges=b"\0", parameters=h("C900"), token=b""):
    return b"".join(map(lv, (package, module, instance, privileges, parameters, token)))


def blocks(data, size):
    return [data[at : at + size] for at in range(0, len(data), size)]


def load(card, block, size=239, le=None, head=b""):
    parts = blocks(head + tlv("C4", block), size)
    answer = b""
    for number, part in enumerate(parts):
        last = 0x80 if number == len(parts) - 1 else 0
        answer = card.ok(0xE8, last, number & 0xFF, part, le)
    return answer


def put_key_data(version, keys, card, kind, check=True):
    out = bytes([version])
    for key in keys:
        if kind == "aes":
            padded = key + bytes(-len(key) % 16)
            field = bytes([0x88]) + lv(bytes([len(key)]) + card.sensitive(padded))
            value = aes(key, b"\x01" * 16)[:3]
        else:
            field = bytes([0x80]) + lv(card.sensitive(key))
            value = des3(key, bytes(8))[:3]
        out += field + (lv(value) if check else b"\0")
    return out


INSTANCE = h("F04F54534D010501AA")


def install_instance(card, instance=INSTANCE, **more):
    return card.ok(0xE6, 0x0C, 0, install_for_install(PACKAGE, MODULE, instance, **more), 0)


SE_ID = h("0001020304050607")


DOMAIN = h("F04F54534D00D1")


def initial_keys(aid, protocol):
    """The keys that a development card gives a new domain: the root, in two levels."""
    sha = lambda data: digest_of(hashes.SHA256(), data)
    one = lambda key, factor: aes(key, factor, bytes(16)) if protocol is Scp03 else des3(key, factor)
    level = one(KEY, sha(aid)[:16])
    return [one(level, sha(bytes([n]) + SE_ID)[:16]) for n in (1, 2, 3)]


def digest_of(algorithm, data):
    digest = hashes.Hash(algorithm)
    digest.update(data)
    return digest.finalize()


def make_domain(card, privileges, aid=DOMAIN, parameters=h("C900"), token=b"", sw=0x9000):
    data = install_for_install(SSD_FILE, SSD_MODULE, aid, privileges, parameters, token)
    return card.ok(0xE6, 0x0C, 0, data, 0, sw=sw)


def own_domain(world, r, privileges, aid=DOMAIN, parameters=h("C900")):
    """Makes a domain and personalises it with keys of its own, as a service provider does."""
    issuer = session(r)
    protocol = type(issuer)
    make_domain(issuer, privileges, aid, parameters)
    kind = "aes" if protocol is Scp03 else "des"
    version = 0x30 if kind == "aes" else 0x20
    derived = Plain(r).select(aid) and Plain(r).ask(0x50, 1, 0, bytes(8), 0)[1] == 0x9000
    if derived:
        first = session(r, aid, version=1, keys=initial_keys(aid, protocol))
    else:
        first = session(r, aid)
    new = [os.urandom(16) for _ in range(3)]
    if kind == "des":
        new = [bytes(b & 0xFE for b in k) for k in new]
    first.ok(0xD8, 1 if derived else 0, 0x81, put_key_data(version, new, first, kind), 0)
    card = session(r, aid, keys=new)
    world.same("its key version answers to 00", card.version, version)
    state = find(entries(status_list(session(r), 0x40, aid))[aid.hex().upper()], "9F70")
    world.same("a domain with keys", state, h("0F"), h("07"))
    if state == h("07"):
        session(r, aid, keys=new).ok(0xF0, 0x40, 0x0F, aid)
    return new


def free_memory(card):
    data = find(card.ok(0xCA, 0xFF, 0x21, le=0), "FF21")
    return [int.from_bytes(find(data, tag), "big") for tag in ("81", "82", "83")]
