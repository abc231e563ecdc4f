"""The off-card half: ciphers, objects, the reader, and both secure channel protocols."""

import os
import socket
import struct
import sys

# The checks import what they need of it from here: one place says that it is missing.
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
