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
import os
import socket
import struct
import sys

try:
    from cryptography.hazmat.primitives import cmac, hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
except ImportError:
    sys.exit("the Python package cryptography is missing; install the Debian package python3-cryptography")

try:
    from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
except ImportError:
    TripleDES = algorithms.TripleDES


class Wrong(Exception):
    """The card did not do what the standard asks for."""


def h(text):
    return bytes.fromhex(text)


KEY = bytes(range(0x40, 0x50))
ISD = h("A000000151000000")
SSD_FILE = h("A0000001515350")
SSD_MODULE = h("A000000151535041")
PACKAGE = h("F04F54534D0105")
MODULE = h("F04F54534D010501")
PURSE = h("A000000632010105")


# --- ciphers ------------------------------------------------------------------------------------


def pad(data, size):
    data += b"\x80"
    return data + bytes(-len(data) % size)


def unpad(data):
    stripped = data.rstrip(b"\0")
    if not stripped.endswith(b"\x80"):
        raise Wrong("bad padding in " + data.hex())
    return stripped[:-1]


def cipher(algorithm, mode, data, decrypt=False):
    context = Cipher(algorithm, mode)
    context = context.decryptor() if decrypt else context.encryptor()
    return context.update(data) + context.finalize()


def des3(key, data, iv=None, decrypt=False):
    key = {8: key * 3, 16: key + key[:8], 24: key}[len(key)]
    mode = modes.ECB() if iv is None else modes.CBC(iv)
    return cipher(TripleDES(key), mode, data, decrypt)


def aes(key, data, iv=None, decrypt=False):
    mode = modes.ECB() if iv is None else modes.CBC(iv)
    return cipher(algorithms.AES(key), mode, data, decrypt)


def aes_cmac(key, data):
    context = cmac.CMAC(algorithms.AES(key))
    context.update(data)
    return context.finalize()


def retail_mac(key, data, icv):
    """Single DES with a triple DES at the end (GPC B.1.2.2)."""
    data = pad(data, 8)
    chain = des3(key[:8], data[:-8], icv)[-8:] if len(data) > 8 else icv
    last = bytes(a ^ b for a, b in zip(chain, data[-8:]))
    return des3(key, last)


def full_mac(key, data):
    return des3(key, pad(data, 8), bytes(8))[-8:]


# --- data ---------------------------------------------------------------------------------------


def ber_length(n):
    if n < 0x80:
        return bytes([n])
    body = n.to_bytes((n.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(body)]) + body


def tlv(tag, value):
    tag = h(tag) if isinstance(tag, str) else tag
    return tag + ber_length(len(value)) + value


def lv(value):
    return ber_length(len(value)) + value


def objects(data):
    """(tag, value) of each object of a BER-TLV list."""
    at = 0
    while at < len(data):
        start = at
        if data[at] & 0x1F == 0x1F:
            at += 1
            while data[at] & 0x80:
                at += 1
        at += 1
        tag = data[start:at].hex().upper()
        length = data[at]
        at += 1
        if length & 0x80:
            count = length & 0x7F
            length = int.from_bytes(data[at : at + count], "big")
            at += count
        if at + length > len(data):
            raise Wrong("an object ends early: " + data.hex())
        yield tag, data[at : at + length]
        at += length


def find(data, *path):
    for tag in path:
        data = next((value for found, value in objects(data) if found == tag), None)
        if data is None:
            raise Wrong("no object " + " ".join(path))
    return data


# --- the card -----------------------------------------------------------------------------------


class Reader:
    """The far end of vpcd: a card slot with power."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.wire = socket.create_connection((host, int(port)), timeout=60)
        self.wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.control(1)

    def control(self, byte):
        self.wire.sendall(struct.pack(">HB", 1, byte))

    def exactly(self, count):
        out = b""
        while len(out) < count:
            part = self.wire.recv(count - len(out))
            if not part:
                raise Wrong("the card went mute")
            out += part
        return out

    def receive(self):
        return self.exactly(struct.unpack(">H", self.exactly(2))[0])

    def answer_to_reset(self):
        self.control(4)
        return self.receive()

    def reset(self):
        self.control(2)

    def raw(self, command):
        if isinstance(command, str):
            command = h(command)
        self.wire.sendall(struct.pack(">H", len(command)) + command)
        answer = self.receive()
        if TRACE:
            print("  >", command.hex().upper(), "\n  <", answer.hex().upper())
        if len(answer) < 2:
            raise Wrong("an answer without status")
        return answer[:-2], int.from_bytes(answer[-2:], "big")

    def close(self):
        self.wire.close()


TRACE = os.environ.get("GP_HOST_TRACE") == "1"


def apdu(cla, ins, p1, p2, data=b"", le=None):
    """A short APDU, or an extended one where the data need it. `le` None: no Le field."""
    head = bytes([cla, ins, p1, p2])
    if len(data) > 255 or (le or 0) > 256:
        out = head + b"\0"
        if data:
            out += struct.pack(">H", len(data)) + data
        return out + (struct.pack(">H", le % 65536) if le is not None else b"")
    if data:
        head += bytes([len(data)]) + data
    return head + (bytes([le % 256]) if le is not None else b"")


def split(command):
    """Header, data and Le field (bytes) of a short or extended APDU."""
    head, rest = command[:4], command[4:]
    if len(rest) <= 1:
        return head, b"", rest
    if rest[0] == 0 and len(rest) > 2:
        if len(rest) == 3:
            return head, b"", rest
        n = int.from_bytes(rest[1:3], "big")
        return head, rest[3 : 3 + n], rest[3 + n :]
    n = rest[0]
    return head, rest[1 : 1 + n], rest[1 + n :]


def secured_class(cla):
    return cla | 0x20 if cla & 0x40 else cla | 0x04


def plain_class(cla):
    """The class a MAC is made over: proprietary, on channel 0, secured."""
    return 0x84 if cla & 0x80 else 0x04


class Plain:
    """No secure channel."""

    def __init__(self, reader, channel=0):
        self.reader, self.channel = reader, channel

    def cla(self, base):
        return base | self.channel if self.channel < 4 else base & 0x80 | 0x40 | self.channel - 4

    def send(self, command):
        if isinstance(command, str):
            command = h(command)
        return self.reader.raw(command)

    def ask(self, ins, p1, p2, data=b"", le=None, base=0x80):
        return self.send(apdu(self.cla(base), ins, p1, p2, data, le))

    def ok(self, ins, p1, p2, data=b"", le=None, base=0x80, sw=0x9000):
        out, status = self.ask(ins, p1, p2, data, le, base)
        if status != sw:
            raise Wrong(f"{ins:02X} {p1:02X}{p2:02X} {data.hex()}: {status:04X}, not {sw:04X}")
        return out

    def select(self, aid, sw=0x9000, le=0):
        return self.ok(0xA4, 4, 0, aid, le, base=0, sw=sw)


class Scp02(Plain):
    """SCP02 with explicit initiation and C-MAC on the modified APDU (GPC appendix E)."""

    def __init__(self, reader, level, version=0, keys=(KEY,) * 3, channel=0, sw=0x9000):
        super().__init__(reader, channel)
        self.level = 0
        host = os.urandom(8)
        answer = self.ok(0x50, version, 0, host, 0)
        if len(answer) != 28 or answer[11] != 2:
            raise Wrong("not an SCP02 answer: " + answer.hex())
        if version and answer[10] != version:
            raise Wrong("another key version")
        self.version = answer[10]
        self.sequence, card = answer[12:14], answer[12:20]
        self.card_challenge = answer[14:20]
        derive = lambda key, constant: des3(key, h(constant) + self.sequence + bytes(12), bytes(8))
        self.enc = derive(keys[0], "0182")
        self.mac = derive(keys[1], "0101")
        self.rmac = derive(keys[1], "0102")
        self.dek = derive(keys[2], "0181")
        if full_mac(self.enc, host + card) != answer[20:]:
            raise Wrong("the card's cryptogram is wrong")
        self.icv = None
        self.level = 1
        cryptogram = full_mac(self.enc, card + host)
        _, status = self.send(apdu(self.cla(0x80), 0x82, level, 0, cryptogram))
        if status != sw and not (isinstance(sw, list) and status in sw):
            raise Wrong(f"EXTERNAL AUTHENTICATE {level:02X}: {status:04X}")
        self.level, self.ricv = level, self.icv

    def send(self, command):
        if isinstance(command, str):
            command = h(command)
        if not self.level:
            return self.reader.raw(command)
        head, data, le = split(command)
        stripped = bytes([head[0] & 0x80]) + head[1:] + bytes([len(data)]) + data
        out = command
        if self.level & 1:
            cla = secured_class(head[0])
            icv = bytes(8) if self.icv is None else des3(self.mac[:8], self.icv)
            over = bytes([plain_class(cla)]) + head[1:] + bytes([len(data) + 8]) + data
            self.icv = retail_mac(self.mac, over, icv)
            if self.level & 2 and data:
                data = des3(self.enc, pad(data, 8), bytes(8))
            out = bytes([cla]) + head[1:] + bytes([len(data) + 8]) + data + self.icv + le
        answer, status = self.reader.raw(out)
        if self.level & 0x10:
            if status == 0x9000 or status >> 8 in (0x62, 0x63):
                answer, mac = answer[:-8], answer[-8:]
                over = stripped + bytes([len(answer)]) + answer + struct.pack(">H", status)
                self.ricv = retail_mac(self.rmac, over, self.ricv)
                if mac != self.ricv:
                    raise Wrong(f"a wrong R-MAC at {status:04X}")
        return answer, status

    def sensitive(self, data):
        return des3(self.dek, data)


def kdf(key, constant, context, bits):
    out = b""
    for counter in range(1, (bits + 127) // 128 + 1):
        label = bytes(11) + bytes([constant])
        out += aes_cmac(key, label + b"\0" + struct.pack(">H", bits) + bytes([counter]) + context)
    return out[: bits // 8]


class Scp03(Plain):
    """SCP03 (amendment D), S8."""

    def __init__(
        self, reader, level, version=0, keys=(KEY,) * 3, channel=0, sw=0x9000, pad_empty=False, le=0
    ):
        super().__init__(reader, channel)
        self.level, self.keys, self.pad_empty = 0, keys, pad_empty
        host = os.urandom(8)
        answer = self.ok(0x50, version, 0, host, le)
        if answer[11] != 3:
            raise Wrong("not an SCP03 answer: " + answer.hex())
        self.i = answer[12]
        if len(answer) != (32 if self.i & 0x10 else 29):
            raise Wrong("an answer of the wrong length: " + answer.hex())
        if version and answer[10] != version:
            raise Wrong("another key version")
        self.version = answer[10]
        card, cryptogram = answer[13:21], answer[21:29]
        self.sequence, self.card_challenge = answer[29:], card
        context = host + card
        size = len(keys[0]) * 8
        self.enc = kdf(keys[0], 0x04, context, size)
        self.mac = kdf(keys[1], 0x06, context, size)
        self.rmac = kdf(keys[1], 0x07, context, size)
        if kdf(self.mac, 0x00, context, 64) != cryptogram:
            raise Wrong("the card's cryptogram is wrong")
        self.chain, self.counter = bytes(16), 0
        self.level = 1
        _, status = self.send(apdu(self.cla(0x80), 0x82, level, 0, kdf(self.mac, 0x01, context, 64)))
        if status != sw and not (isinstance(sw, list) and status in sw):
            raise Wrong(f"EXTERNAL AUTHENTICATE {level:02X}: {status:04X}")
        self.level, self.counter = level, 0

    def send(self, command):
        if isinstance(command, str):
            command = h(command)
        if not self.level:
            return self.reader.raw(command)
        head, data, le = split(command)
        self.counter += 1
        if self.level & 2 and (data or self.pad_empty):
            icv = aes(self.enc, self.counter.to_bytes(16, "big"))
            data = aes(self.enc, pad(data, 16), icv)
        cla = secured_class(head[0])
        extended = len(data) + 8 > 255 or len(le) > 1
        length = b"\0" + struct.pack(">H", len(data) + 8) if extended else bytes([len(data) + 8])
        if extended and len(le) == 1:
            le = b"\0" + le
        if extended and len(le) == 3:
            le = le[1:]
        over = self.chain + bytes([plain_class(cla)]) + head[1:] + length + data
        self.chain = aes_cmac(self.mac, over)
        answer, status = self.reader.raw(bytes([cla]) + head[1:] + length + data + self.chain[:8] + le)
        if self.level & 0x10 and (status == 0x9000 or status >> 8 in (0x62, 0x63)):
            answer, mac = answer[:-8], answer[-8:]
            if aes_cmac(self.rmac, self.chain + answer + struct.pack(">H", status))[:8] != mac:
                raise Wrong(f"a wrong R-MAC at {status:04X}")
            if self.level & 0x20 and answer:
                icv = aes(self.enc, b"\x80" + self.counter.to_bytes(15, "big"))
                answer = unpad(aes(self.enc, answer, icv, decrypt=True))
        return answer, status

    def sensitive(self, data):
        return aes(self.keys[2], data, bytes(16))


# --- checks -------------------------------------------------------------------------------------

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


INSTANCE = h("F04F54534D010501AA")


def install_instance(card, instance=INSTANCE, **more):
    return card.ok(0xE6, 0x0C, 0, install_for_install(PACKAGE, MODULE, instance, **more), 0)


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
def keys(world):
    """PUT KEY and DELETE [key] in the forms of hosts."""
    r = world.reader()
    for base, kind in ((0x20, "des"), (0x30, "aes")):
        if Plain(r).select(ISD) and Plain(r).ask(0x50, base, 0, bytes(8), 0)[1] != 0x9000:
            continue
        new = [bytes([0x11 * (n + 1)]) * 8 + bytes([0x22 * (n + 1)]) * 8 for n in range(3)]
        protocol = Scp02 if kind == "des" else Scp03
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


@group
def channels(world):
    """Logical channels 0 to 19, on both interfaces."""
    r, s = world.reader(), world.reader("contactless")
    plain = Plain(r)
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


def free_memory(card):
    data = find(card.ok(0xCA, 0xFF, 0x21, le=0), "FF21")
    return [int.from_bytes(find(data, tag), "big") for tag in ("81", "82", "83")]


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


def answer_with_le(reader, command, le):
    """What readers do with 61xx and 6Cxx."""
    answer, status = reader.raw(command + (bytes([le % 256]) if le is not None else b""))
    if status >> 8 == 0x6C:
        answer, status = reader.raw(command + bytes([status & 0xFF]))
    while status >> 8 == 0x61:
        more, status = reader.raw(bytes([command[0] & 3, 0xC0, 0, 0, status & 0xFF]))
        answer += more
    return answer, status


@group
def transit(world):
    """What transit readers read of a transport card, in the clear, and how they ask for it."""
    for interface in ("contactless", "contact"):
        r = world.reader(interface)
        ppse = world.status("PPSE", r.raw("00A404000E325041592E5359532E444446303100"), [0x9000, 0x6A82])
        if ppse:
            names = [find(v, "4F") for t, v in objects(find(ppse, "6F", "A5", "BF0C")) if t == "61"]
            world.same("the directory lists the purse", PURSE in names, True)
        # What readers try first, on a card of another kind.
        for text in (
            "00B0840020",
            "00A40000023F00",
            "00A4040009A00000000386980701",
            "00A40400075041592E535A54",
            "00A404000E315041592E5359532E4444463031",
            "00A4000002100100",
            "00A40400085041592E41505059",
        ):
            _, status = r.raw(text)
            world.same(f"{text} is refused", status >> 8 in (0x6A, 0x6D, 0x69, 0x6E, 0x67), True)
        fci = world.status("the purse", r.raw("00A4040008A000000632010105"), 0x9000)
        world.same("with and without Le", r.raw("00A4040008A00000063201010500"), (fci, 0x9000))
        world.same("its name", find(fci, "6F", "84"), PURSE)
        information = find(fci, "6F", "A5", "9F0C")
        world.same("EF15 is in the FCI", len(information), 30)
        for sfi, size in ((0x15, 30), (0x16, 55), (0x17, 60)):
            head = bytes([0, 0xB0, 0x80 | sfi, 0])
            whole = answer_with_le(r, head, size)
            world.same(f"EF{sfi:02X} with the exact Le", (len(whole[0]), whole[1]), (size, 0x9000))
            world.same(f"EF{sfi:02X} with Le 00", answer_with_le(r, head, 0), whole)
            without = answer_with_le(r, head, None)
            world.same(f"EF{sfi:02X} without Le", without == whole or without[1] == 0x6700, True)
            world.same(f"EF{sfi:02X} in part", answer_with_le(r, head, 11), (whole[0][:11], 0x9000))
            world.same(
                f"EF{sfi:02X} from within",
                answer_with_le(r, bytes([0, 0xB0, 0x80 | sfi, 4]), 8),
                (whole[0][4:12], 0x9000),
            )
            longer = r.raw(head + bytes([size + 10]))
            world.same(
                f"EF{sfi:02X} with a longer Le",
                longer[1] in (0x9000, 0x6282, 0x6700) or longer[1] >> 8 == 0x6C,
                True,
            )
            if sfi == 0x15:
                world.same("EF15 is what the FCI says", whole[0], information)
        world.same("EF15 begins with the issuer", information[8:10], h("0201"))
        world.status("beyond the end", r.raw("00B0951F01"), [0x6B00, 0x6A86, 0x6282])
        world.status("no such file", r.raw("00B0990001"), [0x6A82])
        for p1 in range(4):
            answer = r.raw(bytes([0x80, 0x5C, p1, 2, 4]))
            world.same(f"GET BALANCE P1 {p1:02X}", (len(answer[0]), answer[1]), (4, 0x9000))
            world.same("and Le 00", answer_with_le(r, bytes([0x80, 0x5C, p1, 2]), 0), answer)
        world.same("usable and purse balance", r.raw("805C000204"), r.raw("805C030204"))
        balance = int.from_bytes(r.raw("805C000204")[0], "big")
        world.same("a balance", 0 < balance < 1_000_000, True)
        world.status("the ED balance", r.raw("805C000104"), [0x9000, 0x6A86, 0x9401, 0x6A81, 0x6985, 0x9403])
        # The log and the journeys.
        for sfi, count, size in ((0x18, 10, 23), (0x1E, 30, 48)):
            records = []
            for n in range(1, count + 1):
                head = bytes([0, 0xB2, n, sfi << 3 | 4])
                exact = answer_with_le(r, head, size)
                world.same(f"EF{sfi:02X} record {n}", (len(exact[0]), exact[1]), (size, 0x9000))
                world.same("with Le 00", answer_with_le(r, head, 0), exact)
                without = answer_with_le(r, head, None)
                world.same("without Le", without == exact or without[1] == 0x6700, True)
                records.append(exact[0])
            world.status(
                f"EF{sfi:02X} ends", answer_with_le(r, bytes([0, 0xB2, count + 1, sfi << 3 | 4]), 0), 0x6A83
            )
            world.status(
                "record 0",
                answer_with_le(r, bytes([0, 0xB2, 0, sfi << 3 | 4]), 0),
                [0x6A83, 0x6A86, 0x6A80, 0x6985],
            )
            world.same(
                "the newest is first",
                records == sorted(records, key=lambda x: x[16:23] if sfi == 0x18 else x[25:32], reverse=True),
                True,
            )
            together, status = answer_with_le(r, bytes([0, 0xB2, 1, sfi << 3 | 5]), 0)
            world.same("all records at once", status in (0x9000, 0x6A81, 0x6A86, 0x6282), True)
            if status == 0x9000:
                world.same(
                    "are those", b"".join(records).startswith(together) and len(together) >= size, True
                )
        # A real card has all records of EF1A from the start.
        for n in range(1, 19):
            head = bytes([0, 0xB2, n, 0x1A << 3 | 4])
            answer = answer_with_le(r, head, 0)
            want = {7: 112, 13: 30}.get(n, 128)
            world.same(f"EF1A record {n}", (len(answer[0]), answer[1]), (want, 0x9000))
            world.same("with the exact Le", answer_with_le(r, head, want), answer)
            world.same("by its identifier", answer_with_le(r, bytes([0, 0xB2, n, 0x1A << 3]), 0), answer)
            world.same("begins with its identifier", answer[0][:2], bytes([0x27, n]))
        world.status("EF1A ends", r.raw("00B213D400"), 0x6A83)
        # INITIALIZE FOR LOAD, only to see the online counter; and back.
        answer = r.raw("805000020B01000000010000000000" "00" "10")
        world.same("INITIALIZE FOR LOAD", (len(answer[0]), answer[1]), (16, 0x9000))
        world.same("tells the balance", int.from_bytes(answer[0][:4], "big"), balance)
        world.same("with Le 00", len(answer_with_le(r, h("805000020B0100000001000000000000"), 0)[0]), 16)
        answer = r.raw("805001020B01000000010000000000000F")
        world.same("INITIALIZE FOR PURCHASE", (len(answer[0]), answer[1]), (15, 0x9000))
        answer = r.raw("805003020B01000000010000000000000F")
        world.same("INITIALIZE FOR CAPP PURCHASE", (len(answer[0]), answer[1]), (15, 0x9000))
        world.status(
            "a wrong MAC1",
            r.raw("805401000F" "00000001" "20261121" "120000" "00000000" "08"),
            [0x9302, 0x6988],
        )
        world.status(
            "GET TRANSACTION PROVE of nothing", r.raw("805A00090200" "0008"), [0x9406, 0x6A88, 0x6985]
        )
        challenges = [r.raw("0084000004")[0], r.raw("0084000008")[0], answer_with_le(r, h("00840000"), 0)[0]]
        world.same("GET CHALLENGE", [len(c) for c in challenges][:2], [4, 8])
        world.status(
            "an update without MAC",
            r.raw("00DC01F430" + "00" * 48),
            [0x6982, 0x6E00, 0x6985, 0x6988, 0x6987, 0x6D00],
        )
        world.status(
            "an update with a wrong MAC",
            r.raw("04D6950004" + "00" * 4),
            [0x6988, 0x6982, 0x6985, 0x6984, 0x6700],
        )
        world.same("the balance is as it was", int.from_bytes(r.raw("805C000204")[0], "big"), balance)
        world.status("an unknown class", r.raw("905C000204"), [0x6E00, 0x6884])
        world.status("an unknown command", r.raw("80FF000000"), 0x6D00)
        r.close()


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
