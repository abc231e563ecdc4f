//! Signed messages between a merchant and a payment platform, as the large wallets' merchant APIs have them.
//!
//! A request or notification is signed over its method, path, time, nonce and body, a reply over its status,
//! the request's path, its time, the request's nonce and its body, each with an end of line:
//!
//! ```text
//! POST\n/merchant/v1/payments\n1790000000\n5F1E…\n{"order":…}\n
//! 200\n/merchant/v1/payments\n1790000000\n5F1E…\n{"payment":…}\n
//! ```
//!
//! So a reply answers one request and no other. Keys have serials that are made from the keys themselves;
//! a message names the serial of its key. The algorithm is the key's and is never chosen by a message:
//! RSA of 2048 bits with SHA-256, or SM2 with SM3 (GB/T 32918.2).

use std::sync::Arc;

use hyper::HeaderMap;
use jiff::Timestamp;
use tsm_api::HexBytes;
use tsm_api::payment::{PaymentSignature, PlatformKey};
use tsm_api::signature::{SignatureError, Stamp};
use tsm_keys::{KeyAlgorithm, KeyError, KeyReference, KeyService, PublicKey, SignatureScheme};
use uuid::Uuid;

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

/// A private key for messages, inside the key service.
#[derive(Clone)]
pub struct MessageKey {
    keys: Arc<dyn KeyService>,
    reference: KeyReference,
    scheme: PaymentSignature,
    serial: String,
}

/// A public key that checks messages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RegisteredKey {
    scheme: PaymentSignature,
    key: PublicKey,
    serial: String,
}

/// The key cannot be used for messages of this protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageKeyError {
    /// The key service refused.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// It is neither SM2 nor RSA of at least 2048 bits.
    #[error("payment messages are signed with SM2 or with RSA of at least 2048 bits")]
    Algorithm,
    /// What was sent as a public key is none.
    #[error("the public key cannot be read")]
    Unreadable,
}

/// The signed head of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHead {
    /// The merchant.
    pub merchant: String,
    /// When it was signed, and its nonce.
    pub stamp: Stamp,
    /// The key's serial.
    pub serial: String,
    signature: Vec<u8>,
}

/// What a request or notification signs.
#[derive(Debug, Clone, Copy)]
pub struct RequestParts<'a> {
    /// The method.
    pub method: &'a str,
    /// Path and query.
    pub path: &'a str,
    /// When, and the nonce.
    pub stamp: Stamp,
    /// The body.
    pub body: &'a [u8],
}

/// What a reply signs.
#[derive(Debug, Clone, Copy)]
pub struct ReplyParts<'a> {
    /// The status.
    pub status: u16,
    /// Path and query of the request.
    pub path: &'a str,
    /// When the reply was signed, and the request's nonce.
    pub stamp: Stamp,
    /// The body.
    pub body: &'a [u8],
}

impl MessageKey {
    /// A key by its name.
    pub fn open(keys: Arc<dyn KeyService>, reference: KeyReference) -> Result<Self, MessageKeyError> {
        let registered = RegisteredKey::new(keys.public_key(&reference)?)?;
        Ok(Self { keys, reference, scheme: registered.scheme, serial: registered.serial })
    }

    /// The public half.
    pub fn registered(&self) -> Result<RegisteredKey, MessageKeyError> {
        RegisteredKey::new(self.keys.public_key(&self.reference)?)
    }

    /// Its serial.
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// How it signs.
    pub const fn scheme(&self) -> PaymentSignature {
        self.scheme
    }

    /// Signs bytes.
    pub fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.keys.sign(&self.reference, scheme(self.scheme), bytes)
    }

    /// The headers of a request or notification.
    pub fn seal_request(
        &self,
        merchant: &str,
        parts: &RequestParts<'_>,
    ) -> Result<Vec<(&'static str, String)>, KeyError> {
        self.seal(merchant, parts.stamp, &parts.to_bytes())
    }

    /// The headers of a reply.
    pub fn seal_reply(
        &self,
        merchant: &str,
        parts: &ReplyParts<'_>,
    ) -> Result<Vec<(&'static str, String)>, KeyError> {
        self.seal(merchant, parts.stamp, &parts.to_bytes())
    }

    fn seal(
        &self,
        merchant: &str,
        stamp: Stamp,
        bytes: &[u8],
    ) -> Result<Vec<(&'static str, String)>, KeyError> {
        let signature = self.sign(bytes)?;
        Ok(vec![
            (MERCHANT, merchant.to_owned()),
            (TIMESTAMP, stamp.at.as_second().to_string()),
            (NONCE, stamp.serial.simple().to_string()),
            (SERIAL, self.serial.clone()),
            (SIGNATURE, hex::encode(signature)),
        ])
    }
}

impl RegisteredKey {
    /// A public key of one of the two algorithms.
    pub fn new(key: PublicKey) -> Result<Self, MessageKeyError> {
        let scheme = match &key {
            PublicKey::Sm2(_) => PaymentSignature::Sm2Sm3,
            PublicKey::Rsa { modulus, .. } if modulus.len() >= 256 => PaymentSignature::RsaSha256,
            PublicKey::Rsa { .. } | PublicKey::EcdsaP256(_) => return Err(MessageKeyError::Algorithm),
        };
        let serial = hex::encode_upper(&key.fingerprint()[..10]);
        Ok(Self { scheme, key, serial })
    }

    /// Its serial.
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// How it signs.
    pub const fn scheme(&self) -> PaymentSignature {
        self.scheme
    }

    /// Checks the signature of a request or notification.
    pub fn verify_request(&self, head: &SignedHead, parts: &RequestParts<'_>) -> Result<(), SignatureError> {
        self.verify(&parts.to_bytes(), &head.signature)
    }

    /// Checks the signature of a reply.
    pub fn verify_reply(&self, head: &SignedHead, parts: &ReplyParts<'_>) -> Result<(), SignatureError> {
        self.verify(&parts.to_bytes(), &head.signature)
    }

    /// Checks a signature over bytes.
    pub fn verify(&self, bytes: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        self.key.verify(scheme(self.scheme), bytes, signature).map_err(|_| SignatureError::Wrong)
    }

    /// As the platform gives it out.
    pub fn to_wire(&self) -> PlatformKey {
        let (key, exponent) = match &self.key {
            PublicKey::EcdsaP256(point) | PublicKey::Sm2(point) => (point.to_vec(), Vec::new()),
            PublicKey::Rsa { modulus, exponent } => (modulus.clone(), exponent.clone()),
        };
        PlatformKey {
            serial: self.serial.clone(),
            scheme: self.scheme,
            key: HexBytes(key),
            exponent: HexBytes(exponent),
        }
    }

    /// As it was given out; the serial must be the key's.
    pub fn from_wire(wire: &PlatformKey) -> Result<Self, MessageKeyError> {
        let key = match wire.scheme {
            PaymentSignature::RsaSha256 => {
                PublicKey::Rsa { modulus: wire.key.0.clone(), exponent: wire.exponent.0.clone() }
            }
            PaymentSignature::Sm2Sm3 => {
                let point = wire.key.0.as_slice().try_into().map_err(|_| MessageKeyError::Unreadable)?;
                PublicKey::Sm2(Box::new(point))
            }
        };
        let key = Self::new(key)?;
        if key.serial == wire.serial { Ok(key) } else { Err(MessageKeyError::Unreadable) }
    }
}

impl SignedHead {
    /// Reads the headers that `header` gives by name.
    pub fn read<'a>(header: impl Fn(&'static str) -> Option<&'a str>) -> Result<Self, SignatureError> {
        let field = |name| header(name).ok_or(SignatureError::Header(name));
        let seconds = field(TIMESTAMP)?.parse().ok();
        let at = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
        let nonce = field(NONCE)?;
        let serial = Uuid::try_parse(nonce).ok().filter(|_| nonce.len() == 32);
        Ok(Self {
            merchant: field(MERCHANT)?.to_owned(),
            stamp: Stamp {
                at: at.ok_or(SignatureError::Header(TIMESTAMP))?,
                serial: serial.ok_or(SignatureError::Header(NONCE))?,
            },
            serial: field(SERIAL)?.to_owned(),
            signature: hex::decode(field(SIGNATURE)?).map_err(|_| SignatureError::Header(SIGNATURE))?,
        })
    }

    /// Reads the headers of a request.
    pub fn of_headers(headers: &HeaderMap) -> Result<Self, SignatureError> {
        Self::read(|name| headers.get(name)?.to_str().ok())
    }
}

impl RequestParts<'_> {
    fn to_bytes(self) -> Vec<u8> {
        let Self { method, path, stamp, body } = self;
        lines(&format!("{method}\n{path}"), stamp, body)
    }
}

impl ReplyParts<'_> {
    fn to_bytes(self) -> Vec<u8> {
        let Self { status, path, stamp, body } = self;
        lines(&format!("{status}\n{path}"), stamp, body)
    }
}

fn lines(head: &str, stamp: Stamp, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{head}\n{}\n{}\n", stamp.at.as_second(), stamp.serial.simple()).into_bytes();
    bytes.extend_from_slice(body);
    bytes.push(b'\n');
    bytes
}

const fn scheme(signature: PaymentSignature) -> SignatureScheme {
    match signature {
        PaymentSignature::RsaSha256 => SignatureScheme::RsaSha256,
        PaymentSignature::Sm2Sm3 => SignatureScheme::Sm2Sm3,
    }
}

/// The algorithm of a key that signs so.
pub const fn algorithm(signature: PaymentSignature) -> KeyAlgorithm {
    match signature {
        PaymentSignature::RsaSha256 => KeyAlgorithm::Rsa,
        PaymentSignature::Sm2Sm3 => KeyAlgorithm::Sm2,
    }
}

/// Draws a new key for messages, and gives its public half to be registered with the other side.
pub fn draw_key(
    keys: &dyn KeyService,
    reference: &KeyReference,
    scheme: PaymentSignature,
) -> Result<RegisteredKey, MessageKeyError> {
    keys.generate(reference, algorithm(scheme))?;
    RegisteredKey::new(keys.public_key(reference)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp() -> Stamp {
        Stamp { at: Timestamp::from_second(1_790_000_000).unwrap(), serial: Uuid::from_u128(0xABC) }
    }

    #[test]
    fn what_is_signed_is_a_line_for_each_part() {
        let parts = RequestParts { method: "POST", path: "/a?b=1", stamp: stamp(), body: b"{}" };
        let expected = "POST\n/a?b=1\n1790000000\n00000000000000000000000000000abc\n{}\n";
        assert_eq!(parts.to_bytes(), expected.as_bytes());
        let parts = ReplyParts { status: 409, path: "/a", stamp: stamp(), body: b"" };
        let expected = "409\n/a\n1790000000\n00000000000000000000000000000abc\n\n";
        assert_eq!(parts.to_bytes(), expected.as_bytes());
    }

    #[test]
    fn a_head_with_a_bad_field_is_refused_by_its_name() {
        let good = [
            (MERCHANT, "CITY"),
            (TIMESTAMP, "1790000000"),
            (NONCE, "00000000000000000000000000000abc"),
            (SERIAL, "AA"),
            (SIGNATURE, "00ff"),
        ];
        let read = |changed: &str, value: Option<&'static str>| {
            SignedHead::read(|name| {
                if name == changed {
                    value
                } else {
                    good.iter().find(|(known, _)| *known == name).map(|(_, v)| *v)
                }
            })
        };
        assert_eq!(read("", None).unwrap().stamp, stamp());
        for (name, value) in [
            (MERCHANT, None),
            (TIMESTAMP, Some("yesterday")),
            (TIMESTAMP, Some("99999999999999")),
            (NONCE, Some("abc")),
            (NONCE, Some("00000000-0000-0000-0000-000000000abc")),
            (SERIAL, None),
            (SIGNATURE, Some("signed")),
        ] {
            assert_eq!(read(name, value), Err(SignatureError::Header(name)), "{name} {value:?}");
        }
    }

    #[test]
    fn fuzz_heads() {
        bolero::check!().with_type::<(String, String, String)>().for_each(|(time, nonce, signature)| {
            let head = SignedHead::read(|name| match name {
                TIMESTAMP => Some(time.as_str()),
                NONCE => Some(nonce.as_str()),
                SIGNATURE => Some(signature.as_str()),
                _ => Some("x"),
            });
            assert!(head.is_err() || nonce.len() == 32);
        });
    }
}
