"""PUT KEY and DELETE [key]; DAPs and tokens by keys put so."""

import os

from host import (
    ISD,
    KEY,
    MODULE,
    PACKAGE,
    Plain,
    Wrong,
    aes,
    ber_length,
    decode_dss_signature,
    des3,
    ec,
    find,
    h,
    hashes,
    lv,
    objects,
    padding,
    rsa,
    serialization,
    tlv,
)
from world import (
    DOMAIN,
    INSTANCE,
    digest_of,
    group,
    install_for_install,
    install_for_load,
    load,
    load_file,
    own_domain,
    put_key_data,
    session,
)


@group
def keys(world):
    """PUT KEY and DELETE [key] in the forms of hosts."""
    r = world.reader()
    for base, kind in ((0x20, "des"), (0x30, "aes")):
        if Plain(r).select(ISD) and Plain(r).ask(0x50, base, 0, bytes(8), 0)[1] != 0x9000:
            continue
        new = [bytes([0x11 * (n + 1)]) * 8 + bytes([0x22 * (n + 1)]) * 8 for n in range(3)]
        card = session(r, version=base)
        data = put_key_data(base + 1, new, card, kind)
        answer = card.ok(0xD8, 0, 0x81, data, 0)
        checks = b"".join(des3(k, bytes(8))[:3] if kind == "des" else aes(k, b"\1" * 16)[:3] for k in new)
        world.same("PUT KEY answers version and check values", answer, bytes([base + 1]) + checks)
        card = session(r, version=base + 1, keys=new)
        # Replace, without Le and without check values (some hosts leave them out).
        card.ok(0xD8, base + 1, 0x81, put_key_data(base + 1, new[::-1], card, kind))
        card = session(r, version=base + 1, keys=new[::-1])
        world.status(
            "replace without check values",
            card.ask(0xD8, base + 1, 0x81, put_key_data(base + 2, new, card, kind, False), 0),
            0x9000,
        )
        card = session(r, version=base + 2, keys=new)
        world.status("the old version is gone", Plain(r).ask(0x50, base + 1, 0, bytes(8), 0), 0x6A88)
        card = session(r, version=base + 2, keys=new)
        wrong = bytearray(put_key_data(base + 2, new, card, kind))
        wrong[-1] ^= 1
        world.status(
            "a wrong check value", card.ask(0xD8, base + 2, 0x81, bytes(wrong), 0), [0x6982, 0x6A80, 0x9485]
        )
        card = session(r, version=base + 2, keys=new)
        # One key at a time.
        single = put_key_data(base + 2, [b"\x5a" * 16], card, kind)
        world.status("one key", card.ask(0xD8, base + 2, 0x02, single, 0), 0x9000)
        card = session(r, version=base + 2, keys=[new[0], b"\x5a" * 16, new[2]])
        for p1, p2 in ((0x7E, 0x81),):
            world.status(
                "replace what is not there",
                card.ask(0xD8, p1, p2, put_key_data(p1, new, card, kind), 0),
                [0x6A88, 0x6A80],
            )
        world.status(
            "add what is there",
            card.ask(0xD8, 0, 0x81, put_key_data(base, new, card, kind), 0),
            [0x6A80, 0x6985, 0x6A88, 0x9000],
        )
        world.same("still in use", session(r, version=base, keys=(KEY,) * 3) is not None, True)
        card = session(r, version=base)
        world.status("version 00", card.ask(0xD8, 0, 0x81, put_key_data(0, new, card, kind), 0), 0x6A80)
        world.status("version FF", card.ask(0xD8, 0, 0x81, put_key_data(0xFF, new, card, kind), 0), 0x6A80)
        if kind == "aes":
            for number, size in ((0x3A, 24), (0x3B, 32)):
                long = [os.urandom(size) for _ in range(3)]
                card = session(r, version=base)
                card.ok(0xD8, 0, 0x81, put_key_data(number, long, card, kind), 0)
                for level in (1, 3):
                    session(r, version=number, keys=long, level=level).ok(0xCA, 0, 0xE0, le=0)
                card = session(r, version=base)
                card.ok(0xE4, 0, 0, h("D201") + bytes([number]), 0)
            # The other kind of key under this channel's DEK.
            card = session(r, version=base)
            mixed = put_key_data(0x29, new, card, "des")
            world.status("3DES keys over SCP03", card.ask(0xD8, 0, 0x81, mixed, 0), [0x9000, 0x6A80])
            session(r, version=0x29, keys=new).ok(0xCA, 0, 0xE0, le=0)
            card = session(r, version=base)
            card.ok(0xE4, 0, 0, h("D20129"))
        template = find(card.ok(0xCA, 0, 0xE0, le=0), "E0")
        print("keys", template.hex())
        # DELETE [key]: by version, by version and id, by id of nothing.
        card = session(r, version=base)
        world.status(
            "DELETE by id and version", card.ask(0xE4, 0, 0, h("D00103D201") + bytes([base + 2]), 0), 0x9000
        )
        world.status(
            "which leaves no set for a session",
            Plain(r).ask(0x50, base + 2, 0, bytes(8), 0),
            [0x6A88, 0x6985],
        )
        card = session(r, version=base)
        world.status("DELETE by version", card.ask(0xE4, 0, 0, h("D201") + bytes([base + 2]), 0), 0x9000)
        world.status(
            "DELETE by version again", card.ask(0xE4, 0, 0, h("D201") + bytes([base + 2]), 0), 0x6A88
        )
        world.status("DELETE by unknown id", card.ask(0xE4, 0, 0, h("D00155"), 0), 0x6A88)
        # Public keys: RSA as A1 A0, elliptic curve as B0 F0.
        rsa_key = rsa.generate_private_key(65537, 1024).public_key().public_numbers()
        modulus = rsa_key.n.to_bytes(128, "big")
        data = bytes([0x73, 0xA1]) + lv(modulus) + bytes([0xA0]) + lv(h("010001")) + b"\0"
        world.status("an RSA key of 1024 bits", card.ask(0xD8, 0, 1, data, 0), 0x9000)
        data = bytes([0x73, 0xA1, 0x80]) + modulus + bytes([0xA0]) + lv(h("010001")) + b"\0"
        world.status(
            "an RSA key with the length byte 80, as some hosts send it",
            card.ask(0xD8, 0x73, 1, data, 0),
            0x9000,
        )
        world.status("it goes", card.ask(0xE4, 0, 0, h("D00101D20173"), 0), 0x9000)
        big = rsa.generate_private_key(65537, 2048).public_key().public_numbers().n.to_bytes(256, "big")
        data = bytes([0x73, 0xA1]) + lv(big) + bytes([0xA0]) + lv(h("010001")) + b"\0"
        wide = session(r, version=base, level=0) if kind == "des" else card
        world.status("an RSA key of 2048 bits, extended", wide.ask(0xD8, 0, 1, data, 0), 0x9000)
        card = session(r, version=base)
        world.status("it goes", card.ask(0xE4, 0, 0, h("D20173"), 0), 0x9000)
        point = (
            ec.generate_private_key(ec.SECP256R1())
            .public_key()
            .public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        )
        data = bytes([0x73, 0xB0]) + lv(point) + h("F00100") + b"\0"
        world.status("a P-256 key", card.ask(0xD8, 0, 1, data, 0), 0x9000)
        information = find(card.ok(0xCA, 0, 0xE0, le=0), "E0")
        world.same("is listed", any(v[:2] == h("0173") for _, v in objects(information)), True)
        world.status("it goes", card.ask(0xE4, 0, 0, h("D20173"), 0), 0x9000)
        # SCP80 keys, version 01 to 0F, and a single 3DES key for DAP.
        for version, p2 in ((0x01, 0x81), (0x0F, 0x81)):
            world.status(
                "SCP80 keys", card.ask(0xD8, 0, p2, put_key_data(version, new, card, kind), 0), 0x9000
            )
            world.status("they go", card.ask(0xE4, 0, 0, h("D201") + bytes([version]), 0), 0x9000)
    r.close()


def rsa_field(key):
    numbers = key.public_key().public_numbers()
    return b"\xa1" + lv(numbers.n.to_bytes(key.key_size // 8, "big")) + b"\xa0" + lv(h("010001")) + b"\0"


def ec_field(key):
    point = key.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    parameter = {"secp256r1": 0, "secp384r1": 1, "secp521r1": 2}[key.curve.name]
    return b"\xb0" + lv(point) + b"\xf0\x01" + bytes([parameter, 0])


def sign(key, data, algorithm=hashes.SHA1):
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), algorithm())
    size = (key.curve.key_size + 7) // 8
    algorithm = {32: hashes.SHA256, 48: hashes.SHA384, 66: hashes.SHA512}[size]
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(algorithm())))
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


@group
def signatures(world):
    """DAP blocks and tokens, RSA and elliptic curve, by keys put with PUT KEY."""
    r = world.reader()
    block = load_file(filler=200)
    sha1, sha256 = digest_of(hashes.SHA1(), block), digest_of(hashes.SHA256(), block)
    makers = [
        ("RSA 1024", lambda: rsa.generate_private_key(65537, 1024), rsa_field),
        ("P-256", lambda: ec.generate_private_key(ec.SECP256R1()), ec_field),
    ]
    issuer = session(r)
    point = bytes([0x73]) + ec_field(ec.generate_private_key(ec.SECP384R1()))
    world.status("a curve the card does not know", issuer.ask(0xD8, 0, 1, point, 0), [0x9484, 0x6A80])
    # DAP: the domain verifies what is loaded for it.
    for name, make, field in makers:
        new = own_domain(world, r, h("C04000"))
        key = make()
        card = session(r, DOMAIN, keys=new)
        card.ok(0xD8, 0, 1, bytes([0x73]) + field(key), 0)
        for digest, algorithm in ((sha1, hashes.SHA1), (sha256, hashes.SHA256)):
            signature = sign(key, digest)
            dap = lambda value: tlv("E2", tlv("4F", DOMAIN) + tlv("C3", value))
            card = session(r, DOMAIN, keys=new)
            card.ok(0xE6, 2, 0, install_for_load(PACKAGE, DOMAIN, digest), 0)
            try:
                load(card, block, 200, head=dap(signature))
                world.same(f"a DAP of {name} over {algorithm.name}", True, True)
                session(r, DOMAIN, keys=new).ok(0xE4, 0, 0, tlv("4F", PACKAGE), 0)
            except Wrong as error:
                world.same(f"a DAP of {name} over {algorithm.name}", str(error), "accepted")
            card = session(r, DOMAIN, keys=new)
            card.ok(0xE6, 2, 0, install_for_load(PACKAGE, DOMAIN, digest), 0)
            try:
                load(card, block, 200, head=dap(bytes([signature[0] ^ 1]) + signature[1:]))
                world.same(f"a forged DAP of {name}", "accepted", "refused")
            except Wrong:
                pass
            card = session(r, DOMAIN, keys=new)
            card.ok(0xE6, 2, 0, install_for_load(PACKAGE, DOMAIN, digest), 0)
            try:
                load(card, block, 200)
                world.same("a load without the DAP", "accepted", "refused")
            except Wrong:
                pass
        session(r).ok(0xE4, 0, 0x80, tlv("4F", DOMAIN), 0)
    # Tokens: the issuer's key 70 verifies, a domain with delegated management carries them.
    for name, make, field in makers:
        key = make()
        token_over = lambda p1, p2, data: sign(key, bytes([p1, p2]) + ber_length(len(data)) + data)
        issuer = session(r)
        issuer.ok(0xD8, 0, 1, bytes([0x70]) + field(key), 0)
        new = own_domain(world, r, h("A00000"))
        card = session(r, DOMAIN, keys=new)

        def tokened(what, ins, p1, p2, data, delete=False):
            for right in (False, True):
                token = token_over(p1, p2, data)
                if not right:
                    token = bytes([token[0] ^ 1]) + token[1:]
                carried = data + (tlv("9E", token) if delete else lv(token))
                answer = session(r, DOMAIN, keys=new).ask(ins, p1, p2, carried, 0)
                if right:
                    world.status(f"{what} with a token of {name}", answer, 0x9000)
                else:
                    world.same(
                        f"{what} with a forged token of {name}",
                        answer[1] in (0x6985, 0x6982, 0x6A80, 0x6300),
                        True,
                    )

        body = install_for_load(PACKAGE, DOMAIN, sha1)[:-1]
        token = token_over(2, 0, body)
        world.status(
            "a load without a token", card.ask(0xE6, 2, 0, body + b"\0", 0), [0x6985, 0x6982, 0x6A80]
        )
        card = session(r, DOMAIN, keys=new)
        world.status(f"a load with a token of {name}", card.ask(0xE6, 2, 0, body + lv(token), 0), 0x9000)
        load(card, block, 200)
        body = install_for_install(PACKAGE, MODULE, INSTANCE, b"\0", h("C900"))[:-1]
        tokened("an installation", 0xE6, 0x0C, 0, body)
        card = session(r, DOMAIN, keys=new)
        world.status(
            "a deletion without a token",
            card.ask(0xE4, 0, 0, tlv("4F", INSTANCE), 0),
            [0x9000, 0x6985, 0x6982],
        )
        session(r).ok(0xE4, 0, 0x80, tlv("4F", DOMAIN), 0)
        session(r).ok(0xE4, 0, 0, h("D20170"), 0)
    r.close()
