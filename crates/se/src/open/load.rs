//! LOAD (GPC 2.3.1, 11.6 and 9.3.5).
//!
//! Blocks gather in volatile memory, charged to the domain that will own the load file; the last
//! one is checked and committed as a whole. What breaks off leaves nothing behind.

use std::mem;

use tsm_capfile::LoadFile;
use tsm_globalplatform::commands::Load;
use tsm_globalplatform::commands::install::CombinedProcess;
use tsm_globalplatform::commands::load::{BlockPosition, Cipherment, LoadFileHeader};
use tsm_globalplatform::dap::HashAlgorithm;
use tsm_globalplatform::primitives;
use tsm_globalplatform::privileges::Privileges;
use tsm_globalplatform::receipt::Confirmed;
use tsm_iso7816::{Aid, CommandApdu, ResponseApdu, StatusWord};

use super::Open;
use super::authority::Authority;
use super::channels::Place;
use super::registry::{CodeMemory, Entry, EntryId, Kind, LoadFileEntry, Usability};
use crate::applet::Answer;
use crate::domain::signatures;
use crate::memory::{ObjectKey, Space};

/// A load file on its way to the card. Volatile: it leaves nothing behind if it is not finished.
pub(crate) struct Loading {
    /// The domain it will be associated with.
    pub(crate) domain: EntryId,
    load_file: Aid,
    hash: Vec<u8>,
    authority: Authority,
    process: CombinedProcess,
    next_block: u8,
    received: Vec<u8>,
}

impl Loading {
    pub(super) const fn new(
        domain: EntryId,
        load_file: Aid,
        hash: Vec<u8>,
        authority: Authority,
        process: CombinedProcess,
    ) -> Self {
        Self { domain, load_file, hash, authority, process, next_block: 0, received: Vec::new() }
    }

    /// The bytes that count as used while the loading lasts.
    pub(crate) fn charged_bytes(&self) -> u32 {
        u32::try_from(self.received.len()).unwrap_or(u32::MAX)
    }
}

impl Open {
    pub(super) fn load(&mut self, domain: EntryId, place: Place, command: &CommandApdu) -> Answer {
        self.require_management(domain, place)?;
        // Taken out, so that any error ends the loading; put back when more blocks are to come.
        let loading = self.channel_mut(place).loading.take();
        let mut loading = loading.ok_or(StatusWord::CONDITIONS_NOT_SATISFIED)?;
        let block = Load::try_from(command).map_err(|error| error.status_word())?;
        if block.number != loading.next_block {
            return Err(StatusWord::INCORRECT_P1_P2);
        }
        if self.registry.get(loading.domain).is_none() {
            return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
        }
        let free = self.free_for(loading.domain).saturating_sub(loading.charged_bytes());
        if block.data.len() > free as usize {
            return Err(StatusWord::NOT_ENOUGH_MEMORY);
        }
        loading.received.extend(&block.data);
        // The beginning shows at once whether this is a load file, and whether it will fit.
        let header = LoadFileHeader::parse(&loading.received).map_err(|error| error.status_word())?;
        if header.as_ref().is_some_and(|header| header.data_length > self.free_for(loading.domain) as usize) {
            return Err(StatusWord::NOT_ENOUGH_MEMORY);
        }
        match block.position {
            BlockPosition::More => {
                // GPC 2.3.1 11.6.2.2 counts from 00 to FF and does not say what follows; hosts begin
                // again at 00 in files of more than 256 blocks.
                loading.next_block = loading.next_block.wrapping_add(1);
                self.channel_mut(place).loading = Some(loading);
                Ok(ResponseApdu::success([0x00]))
            }
            BlockPosition::Last => self.finish_load(place, *loading, header.ok_or(StatusWord::WRONG_DATA)?),
        }
    }

    fn finish_load(&mut self, place: Place, mut loading: Loading, header: LoadFileHeader) -> Answer {
        let received = mem::take(&mut loading.received);
        if header.cipherment == Cipherment::Ciphered
            || received.len() != header.data_offset.saturating_add(header.data_length)
        {
            return Err(StatusWord::WRONG_DATA);
        }
        let data_block = &received[header.data_offset..];
        check_hash(&loading.hash, data_block)?;
        self.check_daps(&loading, &header, data_block)?;
        let load_file = LoadFile::parse(data_block).map_err(|_| StatusWord::WRONG_DATA)?;
        if load_file.package_aid() != loading.load_file {
            return Err(StatusWord::WRONG_DATA);
        }
        // Another channel may have brought the same file meanwhile.
        if self.registry.is_taken(&loading.load_file) {
            return Err(StatusWord::FILE_ALREADY_EXISTS);
        }
        if loading.process == CombinedProcess::Combined {
            self.channel_mut(place).combined = Some(loading.load_file);
        }
        self.put_loaded(&loading, &load_file, data_block)?;
        let security_domain = self.registry.entry(loading.domain).aid;
        self.confirm(loading.authority, Confirmed::Load { load_file: loading.load_file, security_domain })
    }

    fn put_loaded(
        &mut self,
        loading: &Loading,
        load_file: &LoadFile,
        data_block: &[u8],
    ) -> Result<(), StatusWord> {
        let version = load_file.package_version();
        let imports = load_file
            .imports()
            .iter()
            .filter_map(|import| self.registry.find_load_file(&import.aid).map(|(id, _)| id));
        let entry = LoadFileEntry {
            version: [version.major, version.minor],
            modules: load_file.modules().to_vec(),
            imports: imports.collect(),
            code_bytes: u32::try_from(data_block.len()).unwrap_or(u32::MAX),
            memory: CodeMemory::Flash,
            usability: Usability::Usable,
        };
        let entry = Entry { aid: loading.load_file, domain: loading.domain, kind: Kind::LoadFile(entry) };
        let id = self.registry_mut().add(entry).ok_or(StatusWord::NOT_ENOUGH_MEMORY)?;
        self.memory.write_shared(ObjectKey { owner: id.0, space: Space::Code, object: 0 }, data_block);
        Ok(())
    }

    // GPC 2.3.1 9.2.1 and C.3: a domain with DAP verification verifies what is loaded for it or
    // for domains below it, one with mandated DAP verification whatever is loaded.
    fn check_daps(
        &self,
        loading: &Loading,
        header: &LoadFileHeader,
        data_block: &[u8],
    ) -> Result<(), StatusWord> {
        let must = self.registry.iter().filter(|(id, entry)| {
            let privileges = entry.privileges();
            privileges.contains(Privileges::MANDATED_DAP_VERIFICATION)
                || privileges.contains(Privileges::DAP_VERIFICATION)
                    && self.registry.is_within(loading.domain, *id)
        });
        for (_, verifier) in must {
            if !header.dap_blocks.iter().any(|block| block.security_domain == verifier.aid) {
                return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
            }
        }
        if header.dap_blocks.is_empty() {
            return Ok(());
        }
        // A signature is over the hash that INSTALL [for load] announced; SHA-1 where it had none.
        let algorithm = HashAlgorithm::of_length(loading.hash.len()).unwrap_or_default();
        let hash = algorithm.hash(data_block);
        for block in &header.dap_blocks {
            let verifier = self.registry.find_domain(&block.security_domain);
            let verifier = verifier.ok_or(StatusWord::REFERENCED_DATA_NOT_FOUND)?;
            let verifies = self.registry.entry(verifier).privileges().contains(Privileges::DAP_VERIFICATION);
            if !verifies || !signatures::verify_dap(&self.domain_data(verifier).keys, &hash, &block.signature)
            {
                return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
            }
        }
        Ok(())
    }
}

fn check_hash(announced: &[u8], data_block: &[u8]) -> Result<(), StatusWord> {
    let right = match HashAlgorithm::of_length(announced.len()) {
        None => announced.is_empty(),
        Some(algorithm) => primitives::equal(&algorithm.hash(data_block), announced),
    };
    if right { Ok(()) } else { Err(StatusWord::WRONG_DATA) }
}
