//! What the messages between a merchant and a payment platform sign, and the headers that carry it.
//!
//! `docs/payment-platform.md` explains it with worked examples, and the interface documents are made from here.

use crate::signature::Stamp;

/// Header: the merchant that sends the message, or that it is for.
pub const MERCHANT: &str = "pay-merchant";
/// Header: when the message was signed, in seconds since 1970.
pub const TIMESTAMP: &str = "pay-timestamp";
/// Header: the message's nonce, 32 hexadecimal digits.
pub const NONCE: &str = "pay-nonce";
/// Header: the serial of the key that signed.
pub const SERIAL: &str = "pay-serial";
/// Header: the signature in hexadecimal.
pub const SIGNATURE: &str = "pay-signature";
/// Header: the platform's key that a merchant wants the reply signed with.
pub const REPLY_SERIAL: &str = "pay-reply-serial";

/// What is said of each header of a signed message, in the order in which they are written.
pub const HEADERS: [(&str, &str); 5] = [
    (
        MERCHANT,
        "The merchant's institution number: the sender of a request, the receiver of a reply or notification.",
    ),
    (
        TIMESTAMP,
        "When the message was signed, in whole seconds since 1970-01-01T00:00:00Z; at most 300 seconds off.",
    ),
    (
        NONCE,
        "32 lower-case hexadecimal digits, drawn anew for each request and taken once. A reply repeats its request's.",
    ),
    (
        SERIAL,
        "The serial of the key that signed: the first 10 bytes of the key's SHA-256 fingerprint, 20 upper-case \
         hexadecimal digits.",
    ),
    (
        SIGNATURE,
        "The signature in hexadecimal. RSA: PKCS#1 v1.5 with SHA-256, as long as the modulus. SM2: r and s, 32 bytes \
         each, with SM3 and the identifier 1234567812345678. The algorithm is the key's, never the message's choice.",
    ),
];

/// What is said of the header with which a merchant names the platform's key that it has.
pub const REPLY_SERIAL_IN_WORDS: &str = "The serial of the platform's key that the reply is to be signed with; the \
     newest of the merchant's scheme, when it is left out or not held any more.";

/// How messages are signed, in words.
pub fn in_words() -> String {
    let stamp = Stamp {
        at: jiff::Timestamp::from_second(1_790_000_000).unwrap_or_default(),
        serial: uuid::Uuid::from_u128(0xABC),
    };
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).replace('\n', "\\n");
    let request = text(request_bytes("GET", "/merchant/v1/statements?day=2026-09-21", stamp, b""));
    let reply = text(reply_bytes(200, "/merchant/v1/statements?day=2026-09-21", stamp, b"{}"));
    format!(
        "The registered key's signature (RSA with SHA-256, or SM2 with SM3) over a text of one line for each part, \
         each with a line feed. Of a request or notification: the method, the path with its query, the time, the \
         nonce, the body; for example `{request}`. Of a reply: its status, the request's path with its query, the \
         reply's time, the request's nonce, the reply's body; for example `{reply}`. The body is signed as it is sent, \
         byte by byte. A message is taken once, within {} seconds. docs/payment-platform.md has worked examples.",
        crate::signature::WINDOW.as_secs()
    )
}

/// The bytes that a request or notification signs. `path` is the path with its query.
pub fn request_bytes(method: &str, path: &str, stamp: Stamp, body: &[u8]) -> Vec<u8> {
    lines(&format!("{method}\n{path}"), stamp, body)
}

/// The bytes that a reply signs. `path` is that of the request, `stamp` has the reply's time and the request's nonce.
pub fn reply_bytes(status: u16, path: &str, stamp: Stamp, body: &[u8]) -> Vec<u8> {
    lines(&format!("{status}\n{path}"), stamp, body)
}

fn lines(head: &str, stamp: Stamp, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{head}\n{}\n{}\n", stamp.at.as_second(), stamp.serial.simple()).into_bytes();
    bytes.extend_from_slice(body);
    bytes.push(b'\n');
    bytes
}
