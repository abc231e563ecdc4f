//! Application privileges (GPC 2.3.1, 6.6 and 11.1.2).

use core::fmt;

/// A set of privileges. Written as three bytes, or as one where only the first byte is not zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Privileges([u8; 3]);

/// Privileges stand in one or three bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("privileges have one or three bytes, and these have {0}")]
pub struct PrivilegesLength(pub usize);

macro_rules! privileges {
    ($($(#[doc = $doc:literal])* $name:ident = $byte:literal, $bit:literal, $text:literal;)*) => {
        impl Privileges {
            $($(#[doc = $doc])* pub const $name: Self = Self::single($byte, $bit);)*
            const NAMES: &'static [(Self, &'static str)] = &[$((Self::$name, $text),)*];
        }
    };
}

// GPC 2.3.1 tables 11-7, 11-8 and 11-9.
privileges! {
    /// The application is a security domain.
    SECURITY_DOMAIN = 0, 0x80, "security domain";
    /// The domain verifies the DAP of load files that ask for it.
    DAP_VERIFICATION = 0, 0xC0, "DAP verification";
    /// The domain manages card content with tokens of its issuer.
    DELEGATED_MANAGEMENT = 0, 0xA0, "delegated management";
    /// The application may lock the card.
    CARD_LOCK = 0, 0x10, "card lock";
    /// The application may terminate the card.
    CARD_TERMINATE = 0, 0x08, "card terminate";
    /// The application may change historical bytes (implicitly selected on the basic channel).
    CARD_RESET = 0, 0x04, "card reset";
    /// The application manages the global PIN.
    CVM_MANAGEMENT = 0, 0x02, "CVM management";
    /// The domain verifies the DAP of every load file.
    MANDATED_DAP_VERIFICATION = 0, 0xC1, "mandated DAP verification";
    /// The application is a trusted path for inter-application communication.
    TRUSTED_PATH = 1, 0x80, "trusted path";
    /// The domain manages card content by itself.
    AUTHORIZED_MANAGEMENT = 1, 0x40, "authorized management";
    /// The domain verifies delegated-management tokens.
    TOKEN_VERIFICATION = 1, 0x20, "token verification";
    /// The application may delete any card content.
    GLOBAL_DELETE = 1, 0x10, "global delete";
    /// The application may lock or unlock any application.
    GLOBAL_LOCK = 1, 0x08, "global lock";
    /// The application may read any registry entry.
    GLOBAL_REGISTRY = 1, 0x04, "global registry";
    /// The domain is the final application of the card.
    FINAL_APPLICATION = 1, 0x02, "final application";
    /// The application offers a global service.
    GLOBAL_SERVICE = 1, 0x01, "global service";
    /// The domain generates receipts.
    RECEIPT_GENERATION = 2, 0x80, "receipt generation";
    /// The domain deciphers ciphered load files.
    CIPHERED_LOAD_FILE_DATA_BLOCK = 2, 0x40, "ciphered load file data block";
    /// The application may activate or deactivate others on the contactless interface.
    CONTACTLESS_ACTIVATION = 2, 0x20, "contactless activation";
    /// The application may activate itself on the contactless interface.
    CONTACTLESS_SELF_ACTIVATION = 2, 0x10, "contactless self-activation";
}

impl Privileges {
    /// No privilege.
    pub const NONE: Self = Self([0; 3]);
    /// A security domain with authorized management (AMSD): 80 40 00.
    pub const AMSD: Self = Self([0x80, 0x40, 0x00]);
    /// A security domain with delegated management (DMSD): A0 00 00.
    pub const DMSD: Self = Self([0xA0, 0x00, 0x00]);
    /// A security domain that is the final application (FASD): 80 02 00.
    pub const FASD: Self = Self([0x80, 0x02, 0x00]);
    /// A security domain that verifies DAPs: C0 00 00.
    pub const DAP_DOMAIN: Self = Self([0xC0, 0x00, 0x00]);

    const fn single(byte: usize, bits: u8) -> Self {
        let mut bytes = [0; 3];
        bytes[byte] = bits;
        Self(bytes)
    }

    /// The set that three bytes write.
    pub const fn from_bytes(bytes: [u8; 3]) -> Self {
        Self(bytes)
    }

    /// Reads one or three bytes. An absent field is the caller's to decide.
    pub fn parse(bytes: &[u8]) -> Result<Self, PrivilegesLength> {
        match *bytes {
            [first] => Ok(Self([first, 0, 0])),
            [first, second, third] => Ok(Self([first, second, third])),
            _ => Err(PrivilegesLength(bytes.len())),
        }
    }

    /// The three bytes.
    pub const fn to_bytes(self) -> [u8; 3] {
        self.0
    }

    /// One byte where that says everything, three otherwise.
    pub fn to_short_bytes(self) -> Vec<u8> {
        match self.0 {
            [first, 0, 0] => vec![first],
            all => all.to_vec(),
        }
    }

    /// Whether every privilege of `other` is in this set.
    pub const fn contains(self, other: Self) -> bool {
        let ([a, b, c], [x, y, z]) = (self.0, other.0);
        a & x == x && b & y == y && c & z == z
    }

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        let ([a, b, c], [x, y, z]) = (self.0, other.0);
        Self([a | x, b | y, c | z])
    }

    /// This set without the privileges of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        let ([a, b, c], [x, y, z]) = (self.0, other.0);
        Self([a & !x, b & !y, c & !z])
    }

    /// Whether the application is a security domain.
    pub const fn is_security_domain(self) -> bool {
        self.contains(Self::SECURITY_DOMAIN)
    }

    /// Whether no reserved bit is set, and the bits that presuppose others have them.
    // GPC 2.3.1 6.6.1: mandated DAP, DAP verification, delegated and authorized management, token
    // verification and receipts belong to security domains; delegated and authorized management
    // exclude each other.
    pub fn is_consistent(self) -> bool {
        let [first, second, third] = self.0;
        let domain_only = first & 0x61 != 0 || second & 0x60 != 0 || third & 0xC0 != 0;
        let delegated_and_authorized = first & 0x20 != 0 && second & 0x40 != 0;
        let mandated_without_dap = first & 0x01 != 0 && first & 0x40 == 0;
        third & 0x0F == 0
            && (!domain_only || self.is_security_domain())
            && !delegated_and_authorized
            && !mandated_without_dap
    }

    /// The names of the privileges in this set, in the order of the standard.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.iter().filter(move |(privilege, _)| self.contains(*privilege)).map(|(_, name)| *name)
    }
}

impl core::ops::BitOr for Privileges {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl fmt::Display for Privileges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second, third] = self.0;
        write!(f, "{first:02X}{second:02X}{third:02X}")
    }
}

impl fmt::Debug for Privileges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Privileges({self}:")?;
        self.names().try_for_each(|name| write!(f, " {name};"))?;
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_and_three_bytes_are_read() {
        assert_eq!(Privileges::parse(&[0x80]), Ok(Privileges::SECURITY_DOMAIN));
        assert_eq!(Privileges::parse(&[0x80, 0x40, 0]), Ok(Privileges::AMSD));
        assert_eq!(Privileges::parse(&[]), Err(PrivilegesLength(0)));
        assert_eq!(Privileges::parse(&[0x80, 0x40]), Err(PrivilegesLength(2)));
        assert_eq!(Privileges::DMSD.to_short_bytes(), [0xA0]);
        assert_eq!(Privileges::FASD.to_short_bytes(), [0x80, 0x02, 0]);
    }

    #[test]
    fn sets_combine() {
        let both = Privileges::AMSD | Privileges::DAP_VERIFICATION;
        assert!(
            both.contains(Privileges::AUTHORIZED_MANAGEMENT) && both.contains(Privileges::DAP_VERIFICATION)
        );
        assert!(!both.contains(Privileges::MANDATED_DAP_VERIFICATION));
        assert_eq!(both.without(Privileges::AUTHORIZED_MANAGEMENT), Privileges::DAP_DOMAIN);
        let names: Vec<_> = Privileges::DMSD.names().collect();
        assert_eq!(names, ["security domain", "delegated management"]);
    }

    #[test]
    fn contradictions_are_seen() {
        assert!(Privileges::AMSD.is_consistent() && Privileges::NONE.is_consistent());
        assert!(!Privileges::from_bytes([0x20, 0, 0]).is_consistent(), "delegated management without domain");
        assert!(!Privileges::from_bytes([0xA0, 0x40, 0]).is_consistent(), "both kinds of management");
        assert!(!Privileges::from_bytes([0x81, 0, 0]).is_consistent(), "mandated DAP without DAP");
        assert!(!Privileges::from_bytes([0, 0, 1]).is_consistent(), "a reserved bit");
    }
}
