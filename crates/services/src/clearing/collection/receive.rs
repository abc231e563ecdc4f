//! Receiving a file in pieces, over HTTPS or the clearing transport: the same rules for both.

use sha2::{Digest as _, Sha256};
use tsm_api::clearing_files::{FileHeader, Kind, RECORDS_BEGIN, is_name};
use tsm_api::clearing_transport::{FileInfo, Outcome};
use tsm_domain::InstitutionId;
use tsm_domain::bytes::Sha256Digest;
use tsm_storage::clearing::collection::{FileBegun, FileRow, FileStage};
use tsm_storage::{Result, StorageError};

use super::file_key;
use super::refusals::{Flaw, Refusal, read_header};
use super::signatures::{self, Signed};
use crate::clearing::Clearing;

/// The largest file that is received.
pub(super) const LARGEST: u64 = 256 << 20;
/// Bytes that are read at once.
const PIECE: usize = 1 << 20;

impl Clearing {
    /// A file is announced: the row that says how much of it is here, or why it is not taken.
    pub(super) async fn announce(
        &self,
        institution: &InstitutionId,
        info: &FileInfo,
    ) -> Result<std::result::Result<FileRow, Outcome>> {
        let largest = match Kind::of_name(&info.name).filter(|_| is_name(&info.name)) {
            Some(Kind::Upload) => LARGEST,
            Some(Kind::Signatures) => signatures::LARGEST,
            _ => 0,
        };
        if info.size > largest || info.size == 0 {
            let FileInfo { name, size, .. } = info;
            tracing::warn!(%institution, ?name, size, "a file of this name or size is not taken");
            return Ok(Err(Outcome::FileRefused));
        }
        let row = FileRow {
            key: file_key(institution, &info.name),
            batch: None,
            size: info.size,
            digest: info.digest,
            held: 0,
            stage: FileStage::Receiving,
            rows: 0,
            taken: 0,
            begun_at: self.now(),
            refusals: 0,
            last_byte_at: None,
        };
        let upload = signatures::upload_of(&row.key);
        let row = match self.store.begin_file(row, upload).await {
            Ok(FileBegun::Here(row)) => row,
            Ok(FileBegun::Busy) => return Ok(Err(Outcome::Unavailable)),
            Err(StorageError::Conflict { .. }) => return Ok(Err(Outcome::SizeConflict)),
            Err(error) => return Err(error),
        };
        match row.stage {
            FileStage::Refused(_) if !self.lacks_only_signatures(&row).await? => {
                Ok(Err(Outcome::FileRefused))
            }
            _ => Ok(Ok(row)),
        }
    }

    /// Whether a file that was refused is one of records: then it was refused for its signatures, and others may have
    /// come since. Nothing of it was taken.
    async fn lacks_only_signatures(&self, refused: &FileRow) -> Result<bool> {
        let is_upload = Kind::of_name(&refused.key.name) == Some(Kind::Upload);
        Ok(is_upload && self.header_of(refused).await?.is_ok())
    }

    /// Checks a file whose bytes are all here, and hands it over to be taken. A wrong digest forgets the bytes. One
    /// that was refused for its signatures is checked again.
    pub(super) async fn check_whole(&self, announced: &FileRow) -> Result<Outcome> {
        match self.check(announced).await {
            // Another connection has moved it on meanwhile, or another file has its place. Who asks again is told.
            Err(StorageError::Conflict { .. }) => Ok(Outcome::Unavailable),
            checked => checked,
        }
    }

    async fn check(&self, announced: &FileRow) -> Result<Outcome> {
        let key = &announced.key;
        let file = self.store.file(key.clone()).await?;
        let file = file.ok_or_else(|| StorageError::unknown("file", &key.name))?;
        match file.stage {
            _ if !file.is_same(announced) => return Ok(Outcome::Unavailable),
            FileStage::Receiving if file.held == file.size => {}
            // Its bytes were forgotten meanwhile.
            FileStage::Receiving => return Ok(Outcome::Unavailable),
            FileStage::Received | FileStage::Taken | FileStage::Made => return Ok(Outcome::Done),
            FileStage::Refused(_) if self.lacks_only_signatures(&file).await? => {}
            FileStage::Refused(_) => return Ok(Outcome::FileRefused),
        }
        if self.digest_of(&file).await? != file.digest {
            let why = "the bytes that came do not have the digest that was announced";
            self.report_refusal(&file, Refusal::Refused, why).await?;
            self.store.restart_file(&file).await?;
            return Ok(Outcome::DigestWrong);
        }
        if Kind::of_name(&key.name) == Some(Kind::Signatures) {
            return self.check_signatures(&file).await;
        }
        let rows = match self.header_of(&file).await? {
            Ok(header) => u64::from(header.records),
            Err(flaw) => return self.refuse(&file, &flaw).await,
        };
        match self.signed_rows(&file, rows).await? {
            Signed::Fits => {
                self.store.move_file(&file, FileStage::Received, rows).await?;
                Ok(Outcome::Done)
            }
            // It can be taken as soon as they are here.
            Signed::Missing => {
                let why = "it came without the signatures of its terminals";
                self.report_refusal(&file, Refusal::Unsigned, why).await?;
                Ok(Outcome::Unavailable)
            }
            Signed::Wrong(reason) => self.refuse(&file, &Flaw::of_signatures(reason)).await,
        }
    }

    /// Refuses a file as a whole, and says so to whoever reconciles and to the institution.
    async fn refuse(&self, file: &FileRow, flaw: &Flaw) -> Result<Outcome> {
        self.report_refusal(file, Refusal::Refused, &flaw.to_string()).await?;
        self.make_refusal(file, flaw).await?;
        if file.stage == FileStage::Receiving {
            self.store.move_file(file, FileStage::Refused(flaw.to_string()), 0).await?;
        }
        Ok(Outcome::FileRefused)
    }

    /// A file of signatures has no rows to take: it is kept until its upload comes.
    async fn check_signatures(&self, file: &FileRow) -> Result<Outcome> {
        if let Some(reason) = self.unreadable_signatures(file).await? {
            return self.refuse(file, &Flaw::of_signatures(reason)).await;
        }
        self.store.move_file(file, FileStage::Received, 0).await?;
        self.store.move_file(file, FileStage::Taken, 0).await?;
        self.file_has_come(file).await?;
        Ok(Outcome::Done)
    }

    async fn digest_of(&self, file: &FileRow) -> Result<Sha256Digest> {
        let mut hasher = Sha256::new();
        let mut from = 0;
        while from < file.size {
            let piece = self.store.file_bytes(file.key.clone(), from, PIECE).await?;
            if piece.is_empty() {
                break;
            }
            from += piece.len() as u64;
            hasher.update(&piece);
        }
        Ok(Sha256Digest(hasher.finalize().into()))
    }

    async fn header_of(&self, file: &FileRow) -> Result<std::result::Result<FileHeader, Flaw>> {
        let head = self.store.file_bytes(file.key.clone(), 0, RECORDS_BEGIN).await?;
        Ok(read_header(&head, file.size, &self.duties.code))
    }
}
