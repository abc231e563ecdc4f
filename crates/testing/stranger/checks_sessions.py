"""What a host asks first, and secure channel sessions."""

from host import ISD, KEY, Plain, Scp02, Scp03, Wrong, apdu, find, h, kdf, objects, retail_mac
from world import group, session, status_list


@group
def discover(world):
    """What hosts ask before they know the card."""
    r = world.reader()
    card = Plain(r)
    atr = r.answer_to_reset()
    if atr[0] not in (0x3B, 0x3F):
        raise Wrong("no ATR: " + atr.hex())
    fci = world.status("default select, Le 00", card.send("00A4040000"), 0x9000)
    world.same("default select names the ISD", find(fci, "6F", "84"), ISD)
    world.status("default select, no Lc no Le", card.send("00A40400"), 0x9000)
    world.status("select, no Le", card.send("00A4040008A000000151000000"), 0x9000)
    world.status("select by RID prefix", card.send("00A4040005A00000015100"), 0x9000)
    world.status("select of nothing known", card.send("00A4040007A000000003000000"), 0x6A82)
    world.status("select by file id", card.send("00A40000023F0000"), [0x6A86, 0x6A82, 0x6A81, 0x6D00])
    card.select(ISD)
    world.status("select with P2 0C", card.send("00A4040C08A000000151000000"), [0x6A86, 0x9000])
    world.same(
        "block size 9F65 at least 255", int.from_bytes(find(fci, "6F", "A5", "9F65"), "big") >= 247, True
    )
    for tag, value in objects(find(fci, "6F", "A5")):
        if tag == "73":
            world.same("GlobalPlatform OID in the FCI", find(value, "06"), h("2A864886FC6B01"))
    found = {}
    for tag in (
        0x9F7F,
        0x42,
        0x45,
        0x66,
        0x67,
        0xE0,
        0xC1,
        0xC2,
        0xCF,
        0xFF21,
        0x44,
        0x5F50,
        0x2F00,
        0xC0,
        0xD3,
        0x9F70,
        0xC8,
        0xFF40,
        0xBF20,
        0x7F21,
        0x73,
        0x6E,
        0x9F6E,
    ):
        for cla in (0x80, 0x00):
            answer, status = card.send(apdu(cla, 0xCA, tag >> 8, tag & 0xFF, le=0))
            world.same(f"GET DATA {tag:04X} CLA {cla:02X}", status, 0x9000, 0x6A88)
            if status == 0x9000:
                found.setdefault(tag, []).append(answer)
    print("GET DATA offers", " ".join(f"{t:04X}={v[0].hex().upper()}" for t, v in found.items()))
    for tag in (0x9F7F, 0x42, 0x45, 0x66, 0x67, 0xE0, 0xC1, 0xFF21, 0x44):
        world.same(f"GET DATA {tag:04X} is there", tag in found, True)
    found.pop(0x2F00, None)
    for tag, values in found.items():
        world.same(
            f"GET DATA {tag:04X} is an object of that tag",
            [int(t, 16) for t, _ in objects(values[0])][:1],
            [tag],
        )
        world.same(f"GET DATA {tag:04X} in both classes", len(set(values)), 1)
        exact = card.send(apdu(0x80, 0xCA, tag >> 8, tag & 0xFF, le=len(values[0])))
        world.same(f"GET DATA {tag:04X} with the exact Le", exact, (values[0], 0x9000))
        without = card.send(apdu(0x80, 0xCA, tag >> 8, tag & 0xFF))
        world.same(f"GET DATA {tag:04X} without Le", without[1], 0x9000, 0x6700)
    recognition = found[0x66][0]
    world.same("recognition data OID", find(recognition, "66", "73", "06"), h("2A864886FC6B01"))
    world.same(
        "recognition data version", find(recognition, "66", "73", "60", "06")[:9], h("2A864886FC6B020203")
    )
    scps = [value for tag, value in objects(find(recognition, "66", "73")) if tag == "64"]
    print("secure channels", [v.hex() for v in scps])
    capabilities = list(objects(find(found[0x67][0], "67")))
    print("capabilities", [(t, v.hex()) for t, v in capabilities])
    template = find(found[0xE0][0], "E0")
    for tag, value in objects(template):
        world.same("key information entry", tag, "C0")
        world.same("key information length is even", len(value) % 2, 0)
    world.status("unknown INS", card.send("80FE000000"), 0x6D00)
    world.status("unknown CLA", card.send("A0A40000023F00"), [0x6E00])
    world.status("class 01 on a closed channel", card.send("81CA006600"), 0x6881)
    world.status(
        "READ BINARY at the ISD (readers try it first)", card.send("00B0840020"), [0x6D00, 0x6E00, 0x6986]
    )
    world.status("GET CHALLENGE at the ISD", card.send("0084000008"), [0x6D00, 0x9000])
    world.status("management without a session: GET STATUS", card.send("80F28002024F0000"), 0x6982)
    world.status("management without a session: DELETE", card.send("80E40000094F07F04F54534D010500"), 0x6982)
    world.status("EXTERNAL AUTHENTICATE out of order", card.send("8482000010" + "00" * 16), [0x6985, 0x6982])
    world.status("SELECT next after the only one", card.send(apdu(0, 0xA4, 4, 2, ISD, 0)), 0x6A82)
    r.close()


@group
def sessions(world):
    """Each protocol, level and key version; refusals that hosts depend on."""
    r = world.reader()
    plain = Plain(r)
    plain.select(ISD)
    template = plain.ok(0xCA, 0, 0xE0, le=0)
    print("keys", template.hex())
    for version in (0, 0x20, 0x30):
        plain.select(ISD)
        probe, status = plain.ask(0x50, version, 0, bytes(8), 0)
        if status != 0x9000:
            continue
        kind = {2: Scp02, 3: Scp03}[probe[11]]
        if kind is Scp02:
            i = world.scp02_i
            levels = (0, 1, 3) + ((0x10, 0x11, 0x13) if i & 0x20 else ())
            refused = [0x02, 0x33, 0x31] + ([] if i & 0x20 else [0x11, 0x13])
        else:
            i = probe[12]
            levels = (0, 1, 3) + ((0x11, 0x13) if i & 0x20 else ()) + ((0x33,) if i & 0x40 else ())
            refused = [0x02, 0x23, 0x31, 0x10, 0x30] + ([] if i & 0x20 else [0x11, 0x13, 0x33])
        for level in levels:
            plain.select(ISD)
            card = kind(r, level, version)
            for p1 in (0x80, 0x40, 0x20, 0x10):
                first = status_list(card, p1)
                second = status_list(card, p1)
                world.same(f"GET STATUS {p1:02X} at {level:02X} is stable", first, second)
            card.ok(0xCA, 0, 0x66, le=0)
            world.status("an error inside the session", card.ask(0xCA, 0x12, 0x34, le=0), 0x6A88)
            card.ok(0xCA, 0, 0xE0, le=0)
            card.ok(0xCA, 0, 0x66, le=None)
            world.status("a command the domain does not know", card.ask(0x0E, 0, 0, le=0), 0x6D00)
            card.ok(0xCA, 0, 0xE0, le=0)
            if kind is Scp03 and level & 2:
                plain.select(ISD)
                padded = kind(r, level, version, pad_empty=True)
                answer = padded.ask(0xCA, 0, 0x66, le=0)
                world.same(
                    "an empty data field that was padded and encrypted", answer[1], 0x9000, 0x6700, 0x6A80
                )
        for level in refused:
            plain.select(ISD)
            kind(r, level, version, sw=REFUSED_LEVEL)
            world.status("refused level opens nothing", plain.ask(0xF2, 0x80, 2, h("4F00"), 0), 0x6982)
        # The same APDUs in the clear while a session with C-MAC is open.
        plain.select(ISD)
        card = kind(r, 1, version)
        world.status(
            "a clear command in a C-MAC session", plain.ask(0xF2, 0x80, 2, h("4F00"), 0), [0x6982, 0x6985]
        )
        world.status("which ends it", card.ask(0xF2, 0x80, 2, h("4F00"), 0), [0x6982, 0x6985])
        plain.select(ISD)
        card = kind(r, 1, version)
        world.status("a wrong MAC", plain.send(apdu(0x84, 0xF2, 0x80, 2, h("4F00") + bytes(8), 0)), 0x6982)
        world.status("ends the session", card.ask(0xF2, 0x80, 2, h("4F00"), 0), [0x6982, 0x6985])
        world.status("and clear commands are refused", plain.ask(0xF2, 0x80, 2, h("4F00"), 0), 0x6982)
        # SELECT, on either AID, ends the session; so does a reset.
        for what, end in (("SELECT", lambda: plain.select(ISD)), ("reset", r.reset)):
            plain.select(ISD)
            card = kind(r, 1, version)
            end()
            world.status(
                f"{what} ends the session", card.ask(0xF2, 0x80, 2, h("4F00"), 0), [0x6982, 0x6985, 0x6E00]
            )
        # A new INITIALIZE UPDATE ends it too.
        plain.select(ISD)
        card = kind(r, 1, version)
        plain.ok(0x50, version, 0, bytes(8), 0)
        world.status(
            "INITIALIZE UPDATE ends the session", card.ask(0xF2, 0x80, 2, h("4F00"), 0), [0x6982, 0x6985]
        )
        # Wrong cryptogram and MAC of EXTERNAL AUTHENTICATE.
        plain.select(ISD)
        plain.ok(0x50, version, 0, bytes(8), 0)
        world.status("a wrong host cryptogram", plain.send("8482010010" + "00" * 16), [0x6300, 0x6982])
        world.status("no second try on one challenge", plain.send("8482010010" + "00" * 16), [0x6985, 0x6982])
        world.status("host challenge of 7 bytes", plain.ask(0x50, version, 0, bytes(7), 0), [0x6700, 0x6A80])
        world.status("INITIALIZE UPDATE, no data", plain.ask(0x50, version, 0, le=0), [0x6700])
        answer = plain.ask(0x50, version, 0, bytes(8), len(probe))
        world.same("INITIALIZE UPDATE, exact Le", (len(answer[0]), answer[1]), (len(probe), 0x9000))
        answer = plain.ask(0x50, version, 0, bytes(8))
        world.same("INITIALIZE UPDATE without Le", (len(answer[0]), answer[1]), (len(probe), 0x9000))
        world.status("key id in P2", plain.ask(0x50, version, 1, bytes(8), 0), [0x6A86, 0x6A88, 0x9000])
        # The session works in the other classes that hosts use for ISO commands.
        plain.select(ISD)
        card = kind(r, 1, version)
        world.status("GET DATA in class 04", card.ask(0xCA, 0, 0x66, le=0, base=0), 0x9000)
        world.status("and 84 again", card.ask(0xCA, 0, 0x66, le=0), 0x9000)
        # The sequence counter moves by successful sessions only.
        if kind is Scp02 or i & 0x10:
            counter = lambda c: int.from_bytes(c.sequence, "big")
            plain.select(ISD)
            one = counter(kind(r, 1, version))
            plain.select(ISD)
            two = counter(kind(r, 1, version))
            world.same("the sequence counter counts sessions", two, one + 1)
            plain.ok(0x50, version, 0, bytes(8), 0)
            plain.ok(0x50, version, 0, bytes(8), 0)
            plain.select(ISD)
            third = kind(r, 1, version)
            world.same(
                "and nothing else", counter(third), *([one + 2, one + 4] if kind is Scp03 else [one + 2])
            )
            number = find(plain.ok(0xCA, 0, 0xC1, le=0), "C1")
            print("C1", number.hex(), "session", third.sequence.hex())
        if kind is Scp03 and i & 0x10:
            want = kdf(KEY, 0x02, third.sequence + ISD, 64)
            world.same("the challenge can be predicted", third.card_challenge, want)
        if kind is Scp02 and i & 0x40:
            want = retail_mac(third.mac, ISD, bytes(8))[:6]
            world.same("the challenge can be predicted", third.card_challenge, want)
    plain.select(ISD)
    for version in (0x01, 0x7F, 0xFF):
        world.status("no such key version", plain.ask(0x50, version, 0, bytes(8), 0), 0x6A88)
    r.close()


REFUSED_LEVEL = [0x6A86, 0x6985, 0x6982, 0x6300]


@group
def velocity(world):
    """Failed authentications: the domain refuses at last, and the right keys before that."""
    r = world.reader()
    plain = Plain(r)
    for n in range(world.tries - 1):
        plain.ok(0x50, 0, 0, bytes(8), 0)
        world.status("a wrong cryptogram", plain.send("8482010010" + "5A" * 16), [0x6300, 0x6982])
    session(r)
    for n in range(world.tries):
        plain.ok(0x50, 0, 0, bytes(8), 0)
        world.status("a wrong cryptogram", plain.send("8482010010" + "5A" * 16), [0x6300, 0x6982])
    world.status("now it refuses", plain.ask(0x50, 0, 0, bytes(8), 0), [0x6983, 0x6985, 0x6982])
    r.reset()
    world.status("after a reset too", plain.ask(0x50, 0, 0, bytes(8), 0), [0x6983, 0x6985, 0x6982])
    plain.ok(0xCA, 0, 0x66, le=0)
    r.close()
