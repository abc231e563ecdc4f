//! Creating a supplementary security domain (GPC 2.3.1, 11.5.2.3.2 and 7.2; P-5.8.3.1; D-16).
//!
//! INSTALL [for install and make selectable] of the card's own security-domain module, in a session
//! with the issuer security domain (or with a domain that may install). The new domain has initial
//! keys; [`crate::replace_domain_keys`] replaces them and sets it to PERSONALIZED, and it works
//! normally only after that (P-5.8.3.1.1.e).

use tsm_globalplatform::commands::install::{InstallForInstall, InstallParameters};
use tsm_globalplatform::privileges::Privileges;
use tsm_iso7816::Aid;

use crate::channel::CardChannel;
use crate::error::ProcedureError;
use crate::open_channel::SecureChannel;
use crate::script::{Answers, Command, Script, Ticket};

/// The three kinds of domain that the platform creates (P-5.8.3.1.1.b, D-16).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DomainMode {
    /// Mode two: managed with the keys of the platform or of its provider.
    Two(Management),
    /// Mode three: the provider signs its load files, and the domain verifies the signature (DAP).
    Three(Management),
    /// Mode four: the provider manages its content with tokens of the issuer (delegated management).
    Four,
}

/// Who may load and install into a domain of mode two or three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Management {
    /// The issuer security domain only.
    Issuer,
    /// The domain itself: authorised management.
    Own,
    /// The issuer, and the domain's applications are final.
    Final,
}

impl DomainMode {
    /// The privileges of a domain of this kind.
    // GPC 2.3.1 table 6-1.
    pub const fn privileges(self) -> Privileges {
        match self {
            Self::Two(management) => management.privileges(),
            Self::Three(management) => management.privileges().union(Privileges::DAP_DOMAIN),
            Self::Four => Privileges::DMSD,
        }
    }
}

impl Management {
    const fn privileges(self) -> Privileges {
        match self {
            Self::Issuer => Privileges::from_bytes([0x80, 0x00, 0x00]),
            Self::Own => Privileges::AMSD,
            Self::Final => Privileges::FASD,
        }
    }
}

/// How much space a domain has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DomainSpace {
    /// It shares the card's.
    Shared,
    /// It has its own, set aside at creation (P-5.8.3.1.1.f).
    Fixed {
        /// Non-volatile bytes.
        non_volatile: u32,
        /// Volatile bytes.
        volatile: u32,
    },
}

/// A domain to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDomain {
    /// Its AID.
    pub aid: Aid,
    /// Its kind.
    pub mode: DomainMode,
    /// Its space.
    pub space: DomainSpace,
    /// The load file of the card's security-domain module.
    pub load_file: Aid,
    /// That module.
    pub module: Aid,
    /// Its own install parameters (C9).
    pub parameters: Vec<u8>,
    /// The install token, where the creating domain has delegated management; empty otherwise.
    pub token: Vec<u8>,
}

impl NewDomain {
    /// The load file of security domains on cards that follow the GlobalPlatform naming.
    pub const LOAD_FILE: Aid = Aid::constant(&[0xA0, 0, 0, 1, 0x51, 0x53, 0x50]);
    /// The module of security domains on cards that follow the GlobalPlatform naming.
    pub const MODULE: Aid = Aid::constant(&[0xA0, 0, 0, 1, 0x51, 0x53, 0x50, 0x41]);

    /// A domain from the module that GlobalPlatform cards name alike.
    pub const fn new(aid: Aid, mode: DomainMode, space: DomainSpace) -> Self {
        Self {
            aid,
            mode,
            space,
            load_file: Self::LOAD_FILE,
            module: Self::MODULE,
            parameters: Vec::new(),
            token: Vec::new(),
        }
    }

    /// The command.
    pub fn command(&self) -> Command {
        let mut parameters = InstallParameters::application(self.parameters.clone());
        if let DomainSpace::Fixed { non_volatile, volatile } = self.space {
            parameters.non_volatile_data = Some(non_volatile);
            parameters.volatile_data = Some(volatile);
        }
        let install = InstallForInstall {
            parameters: parameters.to_bytes(),
            token: self.token.clone(),
            ..InstallForInstall::new(self.load_file, self.module, self.aid, self.mode.privileges())
        };
        Command::new("INSTALL [for install] of a security domain", install.to_apdu())
    }
}

/// A creation whose command is in a script.
#[derive(Debug)]
pub struct CreatingDomain(Ticket);

impl CreatingDomain {
    /// Adds the command to `script`.
    pub fn add(
        channel: &mut SecureChannel,
        domain: &NewDomain,
        script: &mut Script,
    ) -> Result<Self, ProcedureError> {
        Ok(Self(channel.add(script, vec![domain.command()])?))
    }

    /// Checks that the card created the domain.
    pub fn take(self, channel: &mut SecureChannel, answers: &mut Answers) -> Result<(), ProcedureError> {
        channel.take_one(answers, &self.0).map(drop)
    }
}

/// Creates a domain in one exchange.
pub async fn create_domain(
    card: &mut impl CardChannel,
    channel: &mut SecureChannel,
    domain: &NewDomain,
    mut script: Script,
) -> Result<(), ProcedureError> {
    let creating = CreatingDomain::add(channel, domain, &mut script)?;
    let mut answers = script.run(card).await?;
    creating.take(channel, &mut answers)
}
