//! What a card is set to when it is made.

use tsm_iso7816::tlv;

/// The settings of a card, fixed for its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Non-volatile memory for content, in bytes.
    pub non_volatile_bytes: u32,
    /// Volatile memory for applications, in bytes.
    pub volatile_bytes: u32,
    /// The SCP02 options ("i"): 15, 55, 35 or 75.
    pub scp02_i: u8,
    /// The SCP03 options ("i"): 00, 10, 20, 30, 60, 70, with 01 for S16.
    pub scp03_i: u8,
    /// Failed authentications in a row that a domain bears before it refuses for good.
    pub authentication_tries: u8,
    /// Where a new security domain has its first keys from.
    pub initial_keys: InitialKeys,
}

/// Where a new security domain has its first keys from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InitialKeys {
    /// It has none of its own and uses those of the domain it is associated with, until its
    /// first PUT KEY (GPC 2.3.1, 7.5.3).
    OfAssociatedDomain,
    /// It has keys that come from one root in two levels: its AID, then the SE-ID
    /// (decision D-40), of the protocol of the issuer's default keys. A manufacturer puts such keys
    /// on a card; this one computes them, having been given the root, which only a card of a test
    /// system may be.
    Derived {
        /// The key version that the keys get.
        version: u8,
        /// The root: 16 bytes, or for SCP03 any AES key.
        root: Vec<u8>,
    },
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            non_volatile_bytes: 512 * 1024,
            volatile_bytes: 16 * 1024,
            scp02_i: 0x55,
            scp03_i: 0x70,
            authentication_tries: 100,
            initial_keys: InitialKeys::OfAssociatedDomain,
        }
    }
}

const NON_VOLATILE: u32 = 0x01;
const VOLATILE: u32 = 0x02;
const SCP02: u32 = 0x03;
const SCP03: u32 = 0x04;
const TRIES: u32 = 0x05;
const INITIAL_KEYS: u32 = 0x06;

impl Settings {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        tlv::write(&mut out, NON_VOLATILE, &self.non_volatile_bytes.to_be_bytes());
        tlv::write(&mut out, VOLATILE, &self.volatile_bytes.to_be_bytes());
        tlv::write(&mut out, SCP02, &[self.scp02_i]);
        tlv::write(&mut out, SCP03, &[self.scp03_i]);
        tlv::write(&mut out, TRIES, &[self.authentication_tries]);
        if let InitialKeys::Derived { version, root } = &self.initial_keys {
            tlv::write(&mut out, INITIAL_KEYS, &[&[*version], &root[..]].concat());
        }
        out
    }

    /// Reads settings; what is absent, or unknown to this build, is as by default.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut settings = Self::default();
        for object in tlv::Reader::new(bytes) {
            let object = object.ok()?;
            match (object.tag.0, object.value) {
                (NON_VOLATILE, value) => {
                    settings.non_volatile_bytes = u32::from_be_bytes(value.try_into().ok()?)
                }
                (VOLATILE, value) => settings.volatile_bytes = u32::from_be_bytes(value.try_into().ok()?),
                (SCP02, [i]) => settings.scp02_i = *i,
                (SCP03, [i]) => settings.scp03_i = *i,
                (TRIES, [tries]) => settings.authentication_tries = *tries,
                (INITIAL_KEYS, [version, root @ ..]) => {
                    settings.initial_keys = InitialKeys::Derived { version: *version, root: root.to_vec() };
                }
                _ => {}
            }
        }
        Some(settings)
    }
}
