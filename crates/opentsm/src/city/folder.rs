//! The folder of a city: where its plan, its card maker's keys, its servers' list and its phones are.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ceremony::{CardMakerKeys, TerminalSecrets};
use super::plan::PlanError;
use crate::folders;
use crate::phone::Servers;

/// The folder of a city.
#[derive(Debug, Clone)]
pub struct CityFolder(PathBuf);

impl CityFolder {
    /// The city in `path`, which is made if it is not there.
    pub fn new(path: &Path) -> Result<Self, PlanError> {
        let failed = |source| PlanError::File { path: path.to_owned(), source };
        folders::make_private(path).map_err(failed)?;
        // Each process of the city has its own working folder, so the plan holds whole paths.
        Ok(Self(path.canonicalize().map_err(failed)?))
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The plan.
    pub fn plan(&self) -> PathBuf {
        self.0.join("plan.json")
    }

    /// Where the wallet finds the servers.
    pub fn servers(&self) -> PathBuf {
        self.0.join("servers.json")
    }

    /// A phone's folder: its wallet's record and its secure element.
    pub fn phone(&self, number: u32) -> PathBuf {
        self.0.join(format!("phone-{number}"))
    }

    /// A phone's secure element.
    pub fn card(&self, number: u32) -> PathBuf {
        self.phone(number).join("card.se")
    }

    /// Keeps what a wallet needs to know. It holds no secret.
    pub fn write_servers(&self, servers: &Servers) -> Result<(), PlanError> {
        self.write(&self.servers(), servers)
    }

    /// Keeps what the maker of the city's secure elements was given.
    pub fn write_card_maker(&self, maker: &CardMakerKeys) -> Result<(), PlanError> {
        self.write(&self.card_maker(), maker)
    }

    /// What the maker of the city's secure elements was given.
    pub fn read_card_maker(&self) -> Result<CardMakerKeys, PlanError> {
        self.read(&self.card_maker())
    }

    /// Keeps what the city's terminals hold.
    pub fn write_terminals(&self, secrets: &TerminalSecrets) -> Result<(), PlanError> {
        self.write(&self.terminals(), secrets)
    }

    /// What the city's terminals hold.
    pub fn read_terminals(&self) -> Result<TerminalSecrets, PlanError> {
        self.read(&self.terminals())
    }

    fn terminals(&self) -> PathBuf {
        self.0.join("terminals.json")
    }

    fn card_maker(&self) -> PathBuf {
        self.0.join("card-maker.json")
    }

    fn write<T: Serialize>(&self, path: &Path, value: &T) -> Result<(), PlanError> {
        let text = serde_json::to_vec_pretty(value).expect("plain fields can always be written");
        folders::write_private(path, &text)
            .map_err(|source| PlanError::File { path: path.to_owned(), source })
    }

    fn read<T: DeserializeOwned>(&self, path: &Path) -> Result<T, PlanError> {
        let text = std::fs::read(path).map_err(|source| PlanError::File { path: path.to_owned(), source })?;
        serde_json::from_slice(&text)
            .map_err(|source| PlanError::Unreadable { path: path.to_owned(), source })
    }
}
