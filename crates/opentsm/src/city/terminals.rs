//! The terminals of a city on this machine: each has the PSAM's keys, a store of its own in the city's folder, and the
//! key with which it signs its batches.

use std::path::PathBuf;

use tsm_api::pki::{PkiError, SigningIdentity};
use tsm_api::signature::SoftwareSigner;
use tsm_epurse::{Algorithm, Key, KeyVersion, TerminalNumber};
use tsm_terminal::centre_fares::CentreFares;
use tsm_terminal::psam::{PsamProfile, RootKeys};
use tsm_terminal::round::Lent;
use tsm_terminal::state::Limits;
use tsm_terminal::store::{FileStore, FileStoreError, Folder, OnLoss, Opened, Remark, StoreKey};
use tsm_terminal::terminal::{TapError, Terminal, TerminalClass};

use super::ceremony::TerminalSecrets;
use super::folder::CityFolder;
use super::plan::{CityPlan, PlanError};
use super::roles::{BY_HAND, GATES};

/// A terminal of the city.
pub type CityTerminal = Terminal<RootKeys, FileStore<Folder>>;

/// A terminal that was opened, and what it needs for its rounds.
#[derive(Debug)]
pub struct AtHand {
    /// The terminal.
    pub terminal: CityTerminal,
    signer: Option<SoftwareSigner>,
    /// What was found when its store was opened.
    pub remarks: Vec<Remark>,
}

/// A terminal with the key that signs its batches.
pub trait Signed: Lent {
    /// The key; none in a city of an earlier version, whose centre knows no key of the terminal.
    fn signer(&self) -> Option<SoftwareSigner>;
}

/// Why a terminal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum TerminalError {
    /// The city's folder.
    #[error(transparent)]
    City(#[from] PlanError),
    /// The folder of its store.
    #[error("the terminal's store in {path} cannot be opened")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Its store.
    #[error("the terminal's store in {path} cannot be used")]
    Store {
        /// Which.
        path: PathBuf,
        /// Why.
        source: FileStoreError,
    },
    /// Its PSAM.
    #[error(transparent)]
    Psam(#[from] TapError),
    /// Its key.
    #[error("the terminal's key cannot be read")]
    Key(#[from] PkiError),
}

/// All terminals of a city.
#[derive(Clone)]
pub struct CityTerminals {
    folder: CityFolder,
    secrets: TerminalSecrets,
    operator: String,
}

/// The numbers of all of them, in the order in which their keys are kept.
pub fn numbers() -> impl Iterator<Item = [u8; 6]> {
    BY_HAND.into_iter().chain(GATES)
}

impl CityTerminals {
    /// The terminals of the city in `folder`.
    pub fn of(folder: &CityFolder, plan: &CityPlan) -> Result<Self, TerminalError> {
        let secrets = folder.read_terminals()?;
        Ok(Self { folder: folder.clone(), secrets, operator: plan.sp_tsm.institution.clone() })
    }

    /// The store of a terminal as it was left.
    pub fn store(&self, number: [u8; 6]) -> Result<Opened<Folder>, TerminalError> {
        let path = self.folder.path().join("terminals").join(hex::encode(number));
        let folder =
            Folder::open(&path).map_err(|source| TerminalError::Folder { path: path.clone(), source })?;
        let key = StoreKey::new(self.secrets.store);
        FileStore::open(folder, key, TerminalNumber::new(number), OnLoss::Refuse)
            .map_err(|source| TerminalError::Store { path, source })
    }

    /// A terminal that goes on where it was left, with the list and the fare tables that it has.
    pub fn open(&self, number: [u8; 6]) -> Result<AtHand, TerminalError> {
        let Opened { store, state, list, fares, remarks } = self.store(number)?;
        let key = |value: &[u8; 16]| Key::new(Algorithm::TripleDes, *value);
        let keys = RootKeys {
            purchase: vec![(KeyVersion(1), key(&self.secrets.purchase))],
            block: Some(key(&self.secrets.block)),
        };
        let [a, b, c, d, e, f] = number;
        let psam = PsamProfile {
            terminal: TerminalNumber::new(number),
            serial: [0, 0, 0, 0, a, b, c, d, e, f],
            purchase_key_index: 1,
            wrong_mac2_limit: 1_000,
        };
        let terminal = Terminal::start(TerminalClass::A, psam, keys, state, store, Limits::default())?;
        let fares = CentreFares { operator: self.operator.clone(), book: fares.unwrap_or_default() };
        let terminal = terminal.with_list(list.unwrap_or_default(), Default::default()).with_fares(fares);
        Ok(AtHand { terminal, signer: self.signer(number)?, remarks })
    }

    fn signer(&self, number: [u8; 6]) -> Result<Option<SoftwareSigner>, PkiError> {
        let place = numbers().position(|known| known == number);
        let key = place.and_then(|place| self.secrets.signing.get(place));
        key.map(|pem| SigningIdentity::from_pem(pem).and_then(|key| key.signer())).transpose()
    }
}

impl Lent for AtHand {
    type Keys = RootKeys;
    type Store = FileStore<Folder>;

    fn lend<T>(&mut self, work: impl FnOnce(&mut CityTerminal) -> T) -> T {
        work(&mut self.terminal)
    }
}

impl Signed for AtHand {
    fn signer(&self) -> Option<SoftwareSigner> {
        self.signer.clone()
    }
}
