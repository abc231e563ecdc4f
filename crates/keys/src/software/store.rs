//! The sealed store: records encrypted one by one, in memory and in the file.
//!
//! ```text
//! passphrase --argon2id(salt, cost)--> sealing key (32 bytes, kept in memory while the store is open)
//!     verifier  AES-256-GCM of a constant           a wrong passphrase is told apart from damage
//!     record    AES-256-GCM of the key, its name, algorithm and origin authenticated with it
//!     manifest  AES-256-GCM of SHA-256 over all records, so that none can be dropped or put back
//! ```
//!
//! A key is in the clear only inside the call that uses it. The file is replaced as a whole: written
//! beside, synced, renamed; a crash leaves the old file or the new one.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tsm_domain::environment::Entropy;
use zeroize::Zeroizing;

use super::seal::{seal, unseal};
use crate::description::{CheckValue, KeyAlgorithm, KeyDescription, KeyOrigin};
use crate::reference::KeyReference;

const FORMAT: &str = "opentsm-keys";
const VERSION: u16 = 1;
const VERIFIER: &[u8] = b"opentsm-keys verifier";
const VERIFIER_CONTEXT: &[u8] = b"verifier";
const MANIFEST_CONTEXT: &[u8] = b"manifest";
const MAX_FILE_BYTES: u64 = 64 << 20;
const MAX_MEMORY_KIB: u32 = 1 << 20;
const MAX_PASSES: u32 = 64;
const MAX_LANES: u32 = 16;

/// What opens the store. Never printed, wiped when dropped.
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// A passphrase.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl core::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// What guessing a passphrase costs (argon2id). The default is that of OWASP's first choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassphraseCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Default for PassphraseCost {
    fn default() -> Self {
        Self { memory_kib: 19_456, passes: 2, lanes: 1 }
    }
}

/// Why the key file could not be opened or made.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file could not be read or written.
    #[error("the key file {path} could not be read or written")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A new store was asked for where a file is.
    #[error("there is a key file {0} already")]
    Exists(PathBuf),
    /// The file is not a key file.
    #[error("{path} is not a key file: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A newer program wrote the file.
    #[error("{path} has format version {found}; this program reads up to version {VERSION}")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u16,
    },
    /// The passphrase does not open the file.
    #[error("the passphrase does not open {0}")]
    Passphrase(PathBuf),
    /// The passphrase is right and a record is not: the file was changed or damaged.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is damaged.
        what: String,
    },
}

struct Record {
    algorithm: KeyAlgorithm,
    origin: KeyOrigin,
    check_value: CheckValue,
    sealed: Vec<u8>,
}

/// The records and the key that seals them.
pub(super) struct Store {
    sealing_key: Zeroizing<[u8; 32]>,
    records: BTreeMap<KeyReference, Record>,
    file: Option<StoreFile>,
}

struct StoreFile {
    path: PathBuf,
    header: Header,
}

#[derive(Clone, Serialize, Deserialize)]
struct Header {
    format: String,
    version: u16,
    cost: PassphraseCost,
    salt: String,
    verifier: String,
}

#[derive(Serialize, Deserialize)]
struct FileForm {
    #[serde(flatten)]
    header: Header,
    records: Vec<RecordForm>,
    manifest: String,
}

#[derive(Serialize, Deserialize)]
struct RecordForm {
    key: String,
    algorithm: String,
    origin: String,
    check_value: String,
    sealed: String,
}

impl Store {
    /// A store in memory, sealed with a key that nobody keeps.
    pub(super) fn in_memory(entropy: &dyn Entropy) -> Self {
        let mut sealing_key = Zeroizing::new([0; 32]);
        entropy.fill(sealing_key.as_mut());
        Self { sealing_key, records: BTreeMap::new(), file: None }
    }

    /// A new, empty file.
    pub(super) fn create(
        path: &Path,
        passphrase: &Passphrase,
        cost: PassphraseCost,
        entropy: &dyn Entropy,
    ) -> Result<Self, OpenError> {
        if path.exists() {
            return Err(OpenError::Exists(path.to_owned()));
        }
        let mut salt = [0; 16];
        entropy.fill(&mut salt);
        let sealing_key = sealing_key(path, passphrase, cost, &salt)?;
        let verifier = seal(&*sealing_key, entropy, VERIFIER_CONTEXT, VERIFIER)
            .ok_or_else(|| damaged(path, "verifier"))?;
        let header = Header {
            format: FORMAT.to_owned(),
            version: VERSION,
            cost,
            salt: hex::encode(salt),
            verifier: hex::encode(verifier),
        };
        let file = Some(StoreFile { path: path.to_owned(), header });
        let store = Self { sealing_key, records: BTreeMap::new(), file };
        store.save(entropy).map_err(|source| OpenError::File { path: path.to_owned(), source })?;
        Ok(store)
    }

    /// Opens a file.
    pub(super) fn open(path: &Path, passphrase: &Passphrase) -> Result<Self, OpenError> {
        let form = read_form(path)?;
        let header = form.header;
        let salt =
            hex::decode(&header.salt).map_err(|_| format_error(path, "the salt is not hexadecimal"))?;
        let sealing_key = sealing_key(path, passphrase, header.cost, &salt)?;
        let verifier = hex::decode(&header.verifier)
            .map_err(|_| format_error(path, "the verifier is not hexadecimal"))?;
        if unseal(&*sealing_key, VERIFIER_CONTEXT, &verifier).is_none_or(|found| *found != VERIFIER) {
            return Err(OpenError::Passphrase(path.to_owned()));
        }
        let manifest = hex::decode(&form.manifest).map_err(|_| damaged(path, "manifest"))?;
        let expected =
            unseal(&*sealing_key, MANIFEST_CONTEXT, &manifest).ok_or_else(|| damaged(path, "manifest"))?;
        if expected.as_slice() != digest(&form.records) {
            return Err(damaged(path, "records were added, dropped, changed or reordered"));
        }
        let mut records = BTreeMap::new();
        for form in &form.records {
            let (key, record) = read_record(path, form)?;
            if unseal(&*sealing_key, &context(&key, record.algorithm, record.origin), &record.sealed)
                .is_none()
            {
                return Err(damaged(path, &format!("key {key}")));
            }
            records.insert(key, record);
        }
        Ok(Self { sealing_key, records, file: Some(StoreFile { path: path.to_owned(), header }) })
    }

    pub(super) fn descriptions(&self) -> Vec<KeyDescription> {
        self.records.iter().map(|(key, record)| record.describe(key)).collect()
    }

    pub(super) fn describe(&self, key: &KeyReference) -> Option<KeyDescription> {
        self.records.get(key).map(|record| record.describe(key))
    }

    /// The key in the clear, for the time of one call.
    pub(super) fn unseal(&self, key: &KeyReference) -> Option<(KeyAlgorithm, Zeroizing<Vec<u8>>)> {
        let record = self.records.get(key)?;
        let bytes =
            unseal(&*self.sealing_key, &context(key, record.algorithm, record.origin), &record.sealed)?;
        Some((record.algorithm, bytes))
    }

    /// Adds a key and writes the file; a failed write leaves the store as it was.
    pub(super) fn insert(
        &mut self,
        description: &KeyDescription,
        value: &[u8],
        entropy: &dyn Entropy,
    ) -> io::Result<()> {
        let context = context(&description.reference, description.algorithm, description.origin);
        let sealed = seal(&*self.sealing_key, entropy, &context, value)
            .ok_or_else(|| io::Error::other("the sealing key has the wrong length"))?;
        let record = Record {
            algorithm: description.algorithm,
            origin: description.origin,
            check_value: description.check_value,
            sealed,
        };
        self.records.insert(description.reference.clone(), record);
        self.save(entropy).inspect_err(|_| {
            self.records.remove(&description.reference);
        })
    }

    fn save(&self, entropy: &dyn Entropy) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let records: Vec<RecordForm> = self.records.iter().map(|(key, record)| record.form(key)).collect();
        let manifest = seal(&*self.sealing_key, entropy, MANIFEST_CONTEXT, &digest(&records))
            .ok_or_else(|| io::Error::other("the sealing key has the wrong length"))?;
        let form = FileForm { header: file.header.clone(), records, manifest: hex::encode(manifest) };
        replace(&file.path, &serde_json::to_vec_pretty(&form)?)
    }
}

impl Record {
    fn describe(&self, key: &KeyReference) -> KeyDescription {
        KeyDescription {
            reference: key.clone(),
            algorithm: self.algorithm,
            origin: self.origin,
            check_value: self.check_value,
        }
    }

    fn form(&self, key: &KeyReference) -> RecordForm {
        RecordForm {
            key: key.to_string(),
            algorithm: self.algorithm.to_string(),
            origin: origin_word(self.origin).to_owned(),
            check_value: self.check_value.to_string(),
            sealed: hex::encode(&self.sealed),
        }
    }
}

fn sealing_key(
    path: &Path,
    passphrase: &Passphrase,
    cost: PassphraseCost,
    salt: &[u8],
) -> Result<Zeroizing<[u8; 32]>, OpenError> {
    // The cost comes from a file that anybody may have written: it must not take the machine down.
    if cost.memory_kib > MAX_MEMORY_KIB || cost.passes > MAX_PASSES || cost.lanes > MAX_LANES {
        return Err(format_error(path, "the cost of the passphrase is beyond reason"));
    }
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32))
        .map_err(|error| format_error(path, &error.to_string()))?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.0.as_bytes(), salt, key.as_mut())
        .map_err(|error| format_error(path, &error.to_string()))?;
    Ok(key)
}

fn read_form(path: &Path) -> Result<FileForm, OpenError> {
    let file_error = |source| OpenError::File { path: path.to_owned(), source };
    let length = fs::metadata(path).map_err(file_error)?.len();
    if length > MAX_FILE_BYTES {
        return Err(format_error(path, "it is larger than any key file"));
    }
    let bytes = fs::read(path).map_err(file_error)?;
    let value: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|error| format_error(path, &error.to_string()))?;
    if value.get("format").and_then(|format| format.as_str()) != Some(FORMAT) {
        return Err(format_error(path, "it does not say that it is one"));
    }
    match value.get("version").and_then(serde_json::Value::as_u64).and_then(|found| u16::try_from(found).ok())
    {
        Some(found) if found > VERSION => return Err(OpenError::Newer { path: path.to_owned(), found }),
        Some(_) => {}
        None => return Err(format_error(path, "it has no version")),
    }
    serde_json::from_value(value).map_err(|error| format_error(path, &error.to_string()))
}

fn read_record(path: &Path, form: &RecordForm) -> Result<(KeyReference, Record), OpenError> {
    let broken = || damaged(path, &format!("key {}", form.key));
    let check_value = hex::decode(&form.check_value).ok().and_then(|bytes| bytes.try_into().ok());
    let record = Record {
        algorithm: form.algorithm.parse().map_err(|_| broken())?,
        origin: origin_from_word(&form.origin).ok_or_else(broken)?,
        check_value: CheckValue(check_value.ok_or_else(broken)?),
        sealed: hex::decode(&form.sealed).map_err(|_| broken())?,
    };
    Ok((form.key.parse().map_err(|_| broken())?, record))
}

fn context(key: &KeyReference, algorithm: KeyAlgorithm, origin: KeyOrigin) -> Vec<u8> {
    format!("{key} {algorithm} {}", origin_word(origin)).into_bytes()
}

fn digest(records: &[RecordForm]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for record in records {
        for field in [&record.key, &record.algorithm, &record.origin, &record.check_value, &record.sealed] {
            digest.update((field.len() as u64).to_be_bytes());
            digest.update(field);
        }
    }
    digest.finalize().into()
}

const fn origin_word(origin: KeyOrigin) -> &'static str {
    match origin {
        KeyOrigin::Generated => "generated",
        KeyOrigin::Imported => "imported",
        KeyOrigin::Development => "development",
    }
}

fn origin_from_word(word: &str) -> Option<KeyOrigin> {
    [KeyOrigin::Generated, KeyOrigin::Imported, KeyOrigin::Development]
        .into_iter()
        .find(|origin| origin_word(*origin) == word)
}

fn damaged(path: &Path, what: &str) -> OpenError {
    OpenError::Damaged { path: path.to_owned(), what: what.to_owned() }
}

fn format_error(path: &Path, reason: &str) -> OpenError {
    OpenError::Format { path: path.to_owned(), reason: reason.to_owned() }
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::other("the path names no file"))?;
    let mut beside = name.to_owned();
    beside.push(".new");
    let beside = path.with_file_name(beside);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
