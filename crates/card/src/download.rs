//! Loading a load file (GPC 2.3.1, 11.5.2.3.1 and 11.6; P-5.8.4.1).
//!
//! INSTALL [for load] and every LOAD block go ahead in one list. GlobalPlatform has no partial LOAD:
//! a list that broke off restarts at block 0 (D-43), after its residue is deleted.

use std::sync::Arc;

use tsm_globalplatform::commands::Load;
use tsm_globalplatform::commands::install::{InstallForLoad, InstallParameters};
use tsm_globalplatform::commands::load::{DapBlock, load_file};
use tsm_globalplatform::receipt::Receipt;
use tsm_iso7816::Aid;

use crate::authorise::receipt;
use crate::channel::CardChannel;
use crate::error::ProcedureError;
use crate::open_channel::SecureChannel;
use crate::script::{Answers, Command, Script, Ticket};

/// A load file, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// The load file's AID.
    pub load_file: Aid,
    /// The domain it will belong to; none for the domain of the channel.
    pub security_domain: Option<Aid>,
    /// The load file data block; shared, because thousands of downloads send the same one.
    pub data_block: Arc<[u8]>,
    /// The hash of it, where a DAP block or a token needs it; empty otherwise.
    pub hash: Vec<u8>,
    /// Signatures that domains with DAP verification ask for.
    pub dap_blocks: Vec<DapBlock>,
    /// Memory that the load file needs, so that the card refuses before the first block.
    pub code_bytes: Option<u32>,
    /// The load token, where the domain has delegated management; empty otherwise.
    pub token: Vec<u8>,
    /// How large the LOAD blocks are.
    pub blocks: BlockSize,
}

/// How large LOAD blocks are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BlockSize {
    /// As many bytes as a short command holds at the session's level.
    #[default]
    Short,
    /// This many, for channels and cards of which it is known.
    Bytes(u16),
}

impl Download {
    /// A load file for the domain of the channel, without signatures.
    pub fn new(load_file: Aid, data_block: Arc<[u8]>) -> Self {
        Self {
            load_file,
            security_domain: None,
            data_block,
            hash: Vec::new(),
            dap_blocks: Vec::new(),
            code_bytes: None,
            token: Vec::new(),
            blocks: BlockSize::Short,
        }
    }

    /// INSTALL [for load] as it will be sent; its signed part is what a token signs.
    pub fn install_for_load(&self) -> InstallForLoad {
        let parameters =
            InstallParameters { non_volatile_code: self.code_bytes, ..InstallParameters::default() };
        InstallForLoad {
            hash: self.hash.clone(),
            parameters: parameters.to_bytes(),
            token: self.token.clone(),
            ..InstallForLoad::new(self.load_file, self.security_domain)
        }
    }

    /// The commands, for blocks of at most `short` bytes in a short command.
    pub fn commands(&self, short: usize) -> Result<Vec<Command>, ProcedureError> {
        let block_size = match self.blocks {
            BlockSize::Short => short,
            BlockSize::Bytes(bytes) => usize::from(bytes),
        };
        let blocks =
            Load::blocks(&load_file(&self.dap_blocks, &self.data_block), block_size).ok_or_else(|| {
                let length = self.data_block.len();
                ProcedureError::Impossible(format!(
                    "{length} bytes do not go into 256 blocks of {block_size} bytes"
                ))
            })?;
        let install = Command::new("INSTALL [for load]", self.install_for_load().to_apdu());
        Ok(std::iter::once(install)
            .chain(blocks.iter().map(|block| Command::new("LOAD", block.to_apdu())))
            .collect())
    }
}

/// A download whose commands are in a script.
#[derive(Debug)]
pub struct Downloading(Ticket);

/// What a card says after the last block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The load receipt, where the card makes one.
    pub receipt: Option<Receipt>,
}

impl Downloading {
    /// Adds the commands to `script`.
    pub fn add(
        channel: &mut SecureChannel,
        download: &Download,
        script: &mut Script,
    ) -> Result<Self, ProcedureError> {
        let commands = download.commands(channel.command_space())?;
        Ok(Self(channel.add(script, commands)?))
    }

    /// Checks that the card took every block.
    pub fn take(self, channel: &mut SecureChannel, answers: &mut Answers) -> Result<Loaded, ProcedureError> {
        let name = answers.name(&self.0, self.0.len() - 1);
        let responses = channel.take(answers, &self.0)?;
        let receipt = match responses.last() {
            Some(last) => receipt(name, last)?,
            None => None,
        };
        Ok(Loaded { receipt })
    }
}

/// Loads in one exchange.
pub async fn download(
    card: &mut impl CardChannel,
    channel: &mut SecureChannel,
    download: &Download,
    mut script: Script,
) -> Result<Loaded, ProcedureError> {
    let downloading = Downloading::add(channel, download, &mut script)?;
    let mut answers = script.run(card).await?;
    downloading.take(channel, &mut answers)
}
