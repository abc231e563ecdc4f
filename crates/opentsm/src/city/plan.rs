//! The plan of a city on this machine: certificates, addresses, files and the names of what was set
//! up. Written once by whoever makes the city, read by each of its processes.
//!
//! A plan holds private keys of certificates and the passphrase of key files. It belongs to a
//! throw-away city on a laptop and lies in a folder that only its owner can read.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tsm_api::HexBytes;
use tsm_api::payment::PlatformKey;
use tsm_api::pki::{Authority, PkiError, SigningIdentity, TlsIdentity, Trust};
use tsm_services::payment_sandbox::Faults;

use super::clerks::Clerks;
use super::issuer_desk::IssuerDesk;
use super::lines::CentreLines;
use crate::folders;
use crate::profile::Profile;

/// The roles that serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The SE issuer's TSM.
    SeTsm,
    /// The card issuer's TSM.
    SpTsm,
    /// The payment sandbox.
    Payment,
    /// The clearing centre.
    Clearing,
}

impl Role {
    /// All of them, in the order in which they start.
    pub const ALL: [Self; 4] = [Self::SeTsm, Self::Clearing, Self::Payment, Self::SpTsm];

    /// The role's name on the command line and in certificates.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SeTsm => "se-tsm",
            Self::SpTsm => "sp-tsm",
            Self::Payment => "payment",
            Self::Clearing => "clearing",
        }
    }
}

/// One role's place, certificate, message key and files.
#[derive(Clone, Serialize, Deserialize)]
pub struct RolePlan {
    /// Where it serves.
    pub address: SocketAddr,
    /// Its certificate, in PEM.
    pub certificate_pem: String,
    /// The certificate's private key, in PEM.
    pub private_key_pem: String,
    /// The key that signs its messages, in PEM.
    pub message_key_pem: String,
    /// Its store.
    pub store: PathBuf,
    /// Its key file.
    pub keys: PathBuf,
    /// The number under which the others know it. The SP-TSM's comes from its registration.
    pub institution: String,
}

/// The whole plan.
#[derive(Clone, Serialize, Deserialize)]
pub struct CityPlan {
    /// What its servers are for.
    #[serde(default)]
    pub profile: Profile,
    /// The authority of all certificates, in PEM.
    pub authority_pem: String,
    /// The passphrase of every key file.
    pub passphrase: String,
    /// The SE-TSM.
    pub se_tsm: RolePlan,
    /// The SP-TSM.
    pub sp_tsm: RolePlan,
    /// The payment sandbox.
    pub payment: RolePlan,
    /// The clearing centre.
    pub clearing: RolePlan,
    /// The database that the roles share; none when each has a file of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Database>,
    /// What the operator's desk set up, once it has.
    pub published: Option<Published>,
    /// Where the clearing centre serves files and metrics; on free ports where nothing is planned.
    #[serde(default)]
    pub lines: Option<CentreLines>,
    /// The key with which the clearing centre signs riders' receipts, once it has published it.
    #[serde(default)]
    pub receipt_key: Option<tsm_api::HexBytes>,
    /// The public keys that the card issuer and the payment platform gave each other.
    #[serde(default)]
    pub payment_keys: Option<PaymentKeys>,
    /// The card issuer's halls and customer service; none in a city that was made before it had them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer_desk: Option<IssuerDesk>,
    /// The card issuer's people at the clearing centre; none in a city that was made before it had them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub centre_clerks: Option<Clerks>,
    /// The people of the issuer's desk; none in a city that was made before they logged in, until it is started again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desk_clerks: Option<Clerks>,
    /// The public keys of the terminals that sign their batches, by number.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub terminal_keys: BTreeMap<String, HexBytes>,
    /// The file that says how far the city's clock is ahead; none when it is the machine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<PathBuf>,
    /// What the payment sandbox does as the world does.
    #[serde(default = "Faults::doubled")]
    pub payment_faults: Faults,
}

/// The public keys that a merchant and the payment platform gave each other.
#[derive(Clone, Serialize, Deserialize)]
pub struct PaymentKeys {
    /// The card issuer's.
    pub merchant: PlatformKey,
    /// The one with which the clearing centre fetches the card issuer's statements.
    pub statements: PlatformKey,
    /// The platform's.
    pub platform: Vec<PlatformKey>,
    /// The city's shop, which sells to riders over the network; none in a city of an earlier version, whose
    /// platform takes no transit cards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shop: Option<ShopPlan>,
}

/// A merchant that takes transit cards at the payment platform.
#[derive(Clone, Serialize, Deserialize)]
pub struct ShopPlan {
    /// Its number at the platform.
    pub institution: String,
    /// Its public key, which the platform knows.
    pub key: PlatformKey,
    /// Its key file.
    pub keys: PathBuf,
}

/// A PostgreSQL that the roles of a city share, each with tables of its own.
#[derive(Clone, Serialize, Deserialize)]
pub struct Database {
    /// Its address, `postgres://user@host/database`. It may hold a password.
    pub url: String,
    /// What the names of the city's tables begin with, so that several cities share one database.
    pub city: String,
}

/// What the operator's desk set up.
#[derive(Clone, Serialize, Deserialize)]
pub struct Published {
    /// The security domain of the card issuer.
    pub domain: String,
    /// The transit card.
    pub transit: String,
    /// The application without value.
    pub greeting: String,
}

/// Why a plan could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Certificates.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The file or folder.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no plan.
    #[error("{path} is no plan of a city: {source}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

impl CityPlan {
    /// Plans a new city in `folder`. `address` gives each role its address.
    pub fn new(
        folder: &Path,
        passphrase: String,
        mut address: impl FnMut(Role) -> std::io::Result<SocketAddr>,
    ) -> Result<Self, PlanError> {
        let authority = Authority::generate("OpenTSM city on this machine")?;
        let mut role = |role: Role| {
            let address =
                address(role).map_err(|source| PlanError::File { path: role.name().into(), source })?;
            let identity = authority.issue(role.name())?;
            let (certificate, key) = identity.to_pem();
            Ok::<_, PlanError>(RolePlan {
                address,
                certificate_pem: certificate.to_owned(),
                private_key_pem: key.to_owned(),
                message_key_pem: SigningIdentity::generate()?.to_pem().to_owned(),
                store: folder.join(format!("{}.sqlite", role.name())),
                keys: folder.join(format!("{}.keys", role.name())),
                institution: role.name().to_owned(),
            })
        };
        Ok(Self {
            profile: Profile::Development,
            authority_pem: authority.to_pem().to_owned(),
            passphrase,
            se_tsm: role(Role::SeTsm)?,
            sp_tsm: role(Role::SpTsm)?,
            payment: role(Role::Payment)?,
            clearing: role(Role::Clearing)?,
            database: None,
            published: None,
            lines: None,
            payment_keys: None,
            issuer_desk: Some(IssuerDesk::new(&authority)?),
            centre_clerks: None,
            desk_clerks: None,
            terminal_keys: BTreeMap::new(),
            clock: None,
            payment_faults: Faults::doubled(),
            receipt_key: None,
        })
    }

    /// One role's part.
    pub const fn role(&self, role: Role) -> &RolePlan {
        match role {
            Role::SeTsm => &self.se_tsm,
            Role::SpTsm => &self.sp_tsm,
            Role::Payment => &self.payment,
            Role::Clearing => &self.clearing,
        }
    }

    /// One role's part, to be changed.
    pub const fn role_mut(&mut self, role: Role) -> &mut RolePlan {
        match role {
            Role::SeTsm => &mut self.se_tsm,
            Role::SpTsm => &mut self.sp_tsm,
            Role::Payment => &mut self.payment,
            Role::Clearing => &mut self.clearing,
        }
    }

    /// The trust in the city's authority.
    pub fn trust(&self) -> Result<Trust, PkiError> {
        Trust::from_pem(&self.authority_pem)
    }

    /// What a wallet needs of it: no private key.
    pub fn servers(&self) -> crate::phone::Servers {
        crate::phone::Servers {
            se_tsm: self.se_tsm.address,
            sp_tsm: self.sp_tsm.address,
            payment: self.payment.address,
            authority_pem: self.authority_pem.clone(),
            receipt_key: self.receipt_key.clone(),
        }
    }

    /// Writes the plan, readable by its owner only.
    pub fn write(&self, path: &Path) -> Result<(), PlanError> {
        let text = serde_json::to_vec_pretty(self).expect("a plan of plain fields can always be written");
        folders::write_private(path, &text)
            .map_err(|source| PlanError::File { path: path.to_owned(), source })
    }

    /// Reads a plan.
    pub fn read(path: &Path) -> Result<Self, PlanError> {
        let text = std::fs::read(path).map_err(|source| PlanError::File { path: path.to_owned(), source })?;
        serde_json::from_slice(&text)
            .map_err(|source| PlanError::Unreadable { path: path.to_owned(), source })
    }
}

impl RolePlan {
    /// Its certificate with the private key.
    pub fn identity(&self) -> Result<TlsIdentity, PkiError> {
        TlsIdentity::from_pem(&self.certificate_pem, &self.private_key_pem)
    }

    /// The key that signs its messages.
    pub fn message_key(&self) -> Result<SigningIdentity, PkiError> {
        SigningIdentity::from_pem(&self.message_key_pem)
    }
}
