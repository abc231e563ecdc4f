//! Life cycle states of the card, of load files, applications and security domains
//! (GPC 2.3.1, 5 and 11.1.1).

/// The life cycle state of the card, which is also that of the issuer security domain.
// GPC 2.3.1 table 11-6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CardLifeCycle {
    /// 01: the runtime works, and content can be managed.
    OpReady,
    /// 07: initialised by the issuer; not yet for the holder.
    Initialized,
    /// 0F: in the holder's hands.
    Secured,
    /// 7F: locked; only the final application answers.
    CardLocked,
    /// FF: at its end.
    Terminated,
}

/// The life cycle state of an executable load file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LoadFileLifeCycle {
    /// 01: loaded.
    Loaded,
}

/// The life cycle state of an application that is not a security domain.
///
/// Bits 4 to 7 are the application's own while it is selectable (GPC 2.3.1 table 11-4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ApplicationLifeCycle {
    /// 03: installed, not selectable.
    Installed,
    /// 07, or 07 with the application's own bits: selectable.
    Selectable {
        /// The application's own state, bits 4 to 7 (78).
        own: u8,
    },
    /// Bit 8 set: locked; what it was before is kept for the unlocking.
    Locked {
        /// The state before, as it was written, without bit 8.
        before: u8,
    },
}

/// The life cycle state of a security domain other than the issuer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SecurityDomainLifeCycle {
    /// 03: installed, not selectable.
    Installed,
    /// 07: selectable, without its keys.
    Selectable,
    /// 0F: has its personalisation data and keys.
    Personalized,
    /// Bit 8 set: locked; the state before is kept for the unlocking.
    Locked {
        /// The state before, without bit 8: 03, 07 or 0F.
        before: u8,
    },
}

/// A life cycle state of any registry entry, told apart by the kind of the entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LifeCycle {
    /// Of the card (issuer security domain).
    Card(CardLifeCycle),
    /// Of a load file.
    LoadFile(LoadFileLifeCycle),
    /// Of an application.
    Application(ApplicationLifeCycle),
    /// Of a security domain.
    SecurityDomain(SecurityDomainLifeCycle),
}

/// A byte that is not a life cycle state of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{value:02X} is not a life cycle state of {kind}")]
pub struct UnknownLifeCycle {
    /// The byte.
    pub value: u8,
    /// What it should have been a state of.
    pub kind: &'static str,
}

/// Bit 8 of an application or domain: locked.
const LOCKED: u8 = 0x80;

impl CardLifeCycle {
    /// The byte.
    pub const fn value(self) -> u8 {
        match self {
            Self::OpReady => 0x01,
            Self::Initialized => 0x07,
            Self::Secured => 0x0F,
            Self::CardLocked => 0x7F,
            Self::Terminated => 0xFF,
        }
    }
}

impl TryFrom<u8> for CardLifeCycle {
    type Error = UnknownLifeCycle;

    fn try_from(value: u8) -> Result<Self, UnknownLifeCycle> {
        match value {
            0x01 => Ok(Self::OpReady),
            0x07 => Ok(Self::Initialized),
            0x0F => Ok(Self::Secured),
            0x7F => Ok(Self::CardLocked),
            0xFF => Ok(Self::Terminated),
            _ => Err(UnknownLifeCycle { value, kind: "the card" }),
        }
    }
}

impl LoadFileLifeCycle {
    /// The byte.
    pub const fn value(self) -> u8 {
        match self {
            Self::Loaded => 0x01,
        }
    }
}

impl TryFrom<u8> for LoadFileLifeCycle {
    type Error = UnknownLifeCycle;

    fn try_from(value: u8) -> Result<Self, UnknownLifeCycle> {
        match value {
            0x01 => Ok(Self::Loaded),
            _ => Err(UnknownLifeCycle { value, kind: "a load file" }),
        }
    }
}

impl ApplicationLifeCycle {
    /// 07: selectable, in no state of the application's own.
    pub const SELECTABLE: Self = Self::Selectable { own: 0 };

    /// The byte.
    pub const fn value(self) -> u8 {
        match self {
            Self::Installed => 0x03,
            Self::Selectable { own } => 0x07 | own & 0x78,
            Self::Locked { before } => LOCKED | before,
        }
    }

    /// The state, locked.
    #[must_use]
    pub const fn lock(self) -> Self {
        Self::Locked { before: self.value() & !LOCKED }
    }
}

impl TryFrom<u8> for ApplicationLifeCycle {
    type Error = UnknownLifeCycle;

    fn try_from(value: u8) -> Result<Self, UnknownLifeCycle> {
        match value & 0x07 {
            0x03 if value & !LOCKED != 0x03 => Err(UnknownLifeCycle { value, kind: "an application" }),
            0x03 | 0x07 if value & LOCKED != 0 => Ok(Self::Locked { before: value & !LOCKED }),
            0x03 => Ok(Self::Installed),
            0x07 => Ok(Self::Selectable { own: value & 0x78 }),
            _ => Err(UnknownLifeCycle { value, kind: "an application" }),
        }
    }
}

impl SecurityDomainLifeCycle {
    /// The byte.
    pub const fn value(self) -> u8 {
        match self {
            Self::Installed => 0x03,
            Self::Selectable => 0x07,
            Self::Personalized => 0x0F,
            Self::Locked { before } => LOCKED | before,
        }
    }

    /// The state, locked.
    #[must_use]
    pub const fn lock(self) -> Self {
        Self::Locked { before: self.value() & !LOCKED }
    }
}

impl TryFrom<u8> for SecurityDomainLifeCycle {
    type Error = UnknownLifeCycle;

    fn try_from(value: u8) -> Result<Self, UnknownLifeCycle> {
        match value {
            0x03 => Ok(Self::Installed),
            0x07 => Ok(Self::Selectable),
            0x0F => Ok(Self::Personalized),
            0x83 | 0x87 | 0x8F => Ok(Self::Locked { before: value & !LOCKED }),
            _ => Err(UnknownLifeCycle { value, kind: "a security domain" }),
        }
    }
}

impl LifeCycle {
    /// The byte.
    pub const fn value(self) -> u8 {
        match self {
            Self::Card(state) => state.value(),
            Self::LoadFile(state) => state.value(),
            Self::Application(state) => state.value(),
            Self::SecurityDomain(state) => state.value(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_read_back() {
        let card: Vec<u8> = (0..=255).filter(|v| CardLifeCycle::try_from(*v).is_ok()).collect();
        assert_eq!(card, [0x01, 0x07, 0x0F, 0x7F, 0xFF]);
        let domain: Vec<u8> = (0..=255).filter(|v| SecurityDomainLifeCycle::try_from(*v).is_ok()).collect();
        assert_eq!(domain, [0x03, 0x07, 0x0F, 0x83, 0x87, 0x8F]);
        for value in 0..=255 {
            if let Ok(state) = CardLifeCycle::try_from(value) {
                assert_eq!(state.value(), value);
            }
            if let Ok(state) = SecurityDomainLifeCycle::try_from(value) {
                assert_eq!(state.value(), value);
            }
            if let Ok(state) = ApplicationLifeCycle::try_from(value) {
                assert_eq!(state.value(), value);
            }
        }
    }

    #[test]
    fn locking_keeps_what_was() {
        let personalised = ApplicationLifeCycle::try_from(0x0F).unwrap();
        assert_eq!(personalised, ApplicationLifeCycle::Selectable { own: 0x08 });
        assert_eq!(personalised.lock().value(), 0x8F);
        assert_eq!(personalised.lock().lock(), personalised.lock());
        assert_eq!(SecurityDomainLifeCycle::Personalized.lock().value(), 0x8F);
        assert_eq!(ApplicationLifeCycle::try_from(0x00).unwrap_err().kind, "an application");
    }
}
