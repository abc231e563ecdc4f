//! How keys are named: purpose, owner, label and version.
//!
//! A reference is a name, never a value. Versions of one key stand side by side, because
//! replacing the keys of many users takes time (P-5.8.9.3.g). The purpose is part of the name and
//! every operation checks it: a key made to sign tokens never encrypts a script.

use core::fmt;
use core::str::FromStr;

use tsm_epurse::KeyRole;

/// The key of a security domain's set, by key identifier (GPC 2.3.1, 11.1.8; P-5.8.9.3.a).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DomainKey {
    /// S-ENC, identifier 01.
    Enc,
    /// S-MAC, identifier 02.
    Mac,
    /// DEK, identifier 03.
    Dek,
}

impl DomainKey {
    /// The three, in the order of their identifiers.
    pub const ALL: [Self; 3] = [Self::Enc, Self::Mac, Self::Dek];

    /// The key identifier, 01 to 03.
    pub const fn identifier(self) -> u8 {
        match self {
            Self::Enc => 1,
            Self::Mac => 2,
            Self::Dek => 3,
        }
    }
}

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyPurpose {
    /// Member of a key set that cards hold as it is, or that a common card scheme diversifies.
    Domain(DomainKey),
    /// Root of two-level diversification: root, SSD AID, SE-ID (B-8.4.1.b, D-40).
    DomainRoot,
    /// KIC of SCP80 (P-5.8.9.3.b).
    OtaEncryption,
    /// KID of SCP80 (P-5.8.9.3.b).
    OtaMac,
    /// Signs load files for a domain with DAP verification.
    Dap,
    /// Signs tokens of delegated management.
    DelegatedToken,
    /// Root of the keys with which cards make receipts.
    Receipt,
    /// TK: protects personalisation scripts between organisations (P-5.8.4.6.2.a).
    Transport,
    /// KEK: protects keys and sensitive data inside them; never equal to a TK.
    KeyEncryption,
    /// Root of one purse key.
    Purse(KeyRole),
    /// Derives the TOKEN of a binding from SE-ID and date (P-5.5.2.s).
    BindingToken,
    /// Seals values that are stored encrypted (P-5.5.2.t).
    Sealing,
    /// Signs messages between organisations: notifications, receipts, card numbers.
    Message,
    /// Protects the frames of the clearing transport between the centre and one institution.
    ClearingTransport,
}

impl fmt::Display for DomainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Enc => "enc",
            Self::Mac => "mac",
            Self::Dek => "dek",
        })
    }
}

impl fmt::Display for KeyPurpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain(key) => write!(f, "domain-{key}"),
            Self::DomainRoot => f.write_str("domain-root"),
            Self::OtaEncryption => f.write_str("ota-encryption"),
            Self::OtaMac => f.write_str("ota-mac"),
            Self::Dap => f.write_str("dap"),
            Self::DelegatedToken => f.write_str("delegated-token"),
            Self::Receipt => f.write_str("receipt"),
            Self::Transport => f.write_str("transport"),
            Self::KeyEncryption => f.write_str("key-encryption"),
            Self::Purse(key) => write!(f, "purse-{}", key.name()),
            Self::BindingToken => f.write_str("binding-token"),
            Self::Sealing => f.write_str("sealing"),
            Self::Message => f.write_str("message"),
            Self::ClearingTransport => f.write_str("clearing-transport"),
        }
    }
}

/// Why text does not name a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// The purpose is not one of the known ones.
    #[error("there is no key purpose {0:?}")]
    Purpose(String),
    /// A name part is empty, too long, or has characters outside `a-z A-Z 0-9 . _ -`.
    #[error("a key's owner and label have 1 to 64 letters, digits, dots, dashes or underscores, not {0:?}")]
    Name(String),
    /// The version is not a number of 0 to 65535.
    #[error("a key version is a number of 0 to 65535, not {0:?}")]
    Version(String),
    /// Not of the form purpose/owner/label/version.
    #[error("a key reference reads purpose/owner/label/version, not {0:?}")]
    Form(String),
}

impl FromStr for KeyPurpose {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let plain = [
            Self::DomainRoot,
            Self::OtaEncryption,
            Self::OtaMac,
            Self::Dap,
            Self::DelegatedToken,
            Self::Receipt,
            Self::Transport,
            Self::KeyEncryption,
            Self::BindingToken,
            Self::Sealing,
            Self::Message,
            Self::ClearingTransport,
        ];
        plain
            .into_iter()
            .chain(DomainKey::ALL.into_iter().map(Self::Domain))
            .chain(KeyRole::ALL.into_iter().map(Self::Purse))
            .find(|purpose| purpose.to_string() == text)
            .ok_or_else(|| ReferenceError::Purpose(text.to_owned()))
    }
}

/// The name of one version of one key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyReference {
    purpose: KeyPurpose,
    owner: String,
    label: String,
    version: u16,
}

impl KeyReference {
    /// A reference; `owner` and `label` have 1 to 64 letters, digits, dots, dashes or underscores.
    pub fn new(purpose: KeyPurpose, owner: &str, label: &str, version: u16) -> Result<Self, ReferenceError> {
        Ok(Self { purpose, owner: checked_name(owner)?, label: checked_name(label)?, version })
    }

    /// What the key is for.
    pub const fn purpose(&self) -> KeyPurpose {
        self.purpose
    }

    /// The organisation that the key belongs to.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Which of the owner's keys of this purpose: a batch, an application, a partner.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The version.
    pub const fn version(&self) -> u16 {
        self.version
    }

    /// The same key in another version.
    #[must_use]
    pub fn at_version(&self, version: u16) -> Self {
        Self { version, ..self.clone() }
    }
}

impl fmt::Display for KeyReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.purpose, self.owner, self.label, self.version)
    }
}

impl FromStr for KeyReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let parts: Vec<&str> = text.split('/').collect();
        let [purpose, owner, label, version] = parts[..] else {
            return Err(ReferenceError::Form(text.to_owned()));
        };
        let version = version.parse().map_err(|_| ReferenceError::Version(version.to_owned()))?;
        Self::new(purpose.parse()?, owner, label, version)
    }
}

/// The name of a set of three domain keys: S-ENC, S-MAC and DEK of one owner, label and version.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeySetReference {
    owner: String,
    label: String,
    version: u16,
}

impl KeySetReference {
    /// A reference; the names obey the rule of [`KeyReference::new`].
    pub fn new(owner: &str, label: &str, version: u16) -> Result<Self, ReferenceError> {
        Ok(Self { owner: checked_name(owner)?, label: checked_name(label)?, version })
    }

    /// The reference of one member.
    pub fn member(&self, key: DomainKey) -> KeyReference {
        KeyReference {
            purpose: KeyPurpose::Domain(key),
            owner: self.owner.clone(),
            label: self.label.clone(),
            version: self.version,
        }
    }
}

impl fmt::Display for KeySetReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.owner, self.label, self.version)
    }
}

fn checked_name(name: &str) -> Result<String, ReferenceError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if name.is_empty() || name.len() > 64 || !name.chars().all(allowed) {
        return Err(ReferenceError::Name(name.to_owned()));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_purpose_is_written_and_read_back() {
        let purposes = DomainKey::ALL
            .map(KeyPurpose::Domain)
            .into_iter()
            .chain(KeyRole::ALL.map(KeyPurpose::Purse))
            .chain([
                KeyPurpose::DomainRoot,
                KeyPurpose::OtaEncryption,
                KeyPurpose::OtaMac,
                KeyPurpose::Dap,
                KeyPurpose::DelegatedToken,
                KeyPurpose::Receipt,
                KeyPurpose::Transport,
                KeyPurpose::KeyEncryption,
                KeyPurpose::BindingToken,
                KeyPurpose::Sealing,
                KeyPurpose::Message,
            ]);
        for purpose in purposes {
            let key = KeyReference::new(purpose, "operator", "batch-7", 300).unwrap();
            assert_eq!(key.to_string().parse::<KeyReference>().unwrap(), key);
        }
    }

    #[test]
    fn refuses_names_that_could_be_taken_for_others() {
        for (text, error) in [
            ("load/city/main", ReferenceError::Form("load/city/main".into())),
            ("load/city/main/1", ReferenceError::Purpose("load".into())),
            ("purse-load/ci ty/main/1", ReferenceError::Name("ci ty".into())),
            ("purse-load//main/1", ReferenceError::Name(String::new())),
            ("purse-load/city/main/65536", ReferenceError::Version("65536".into())),
        ] {
            assert_eq!(text.parse::<KeyReference>(), Err(error));
        }
    }
}
