//! The archive around the components: a JAR, that is a ZIP file (JCVM 3.1, 4.1.3 and 6.2).
//!
//! Components stand as `<package path>/javacard/<Component>.cap` (or `.capx`). Everything else in the
//! archive (class files, export files, `APPLET-INF`, signatures) is passed over; only the manifest is kept.
//! An archive that can be read in two ways is refused, since the host that loads it may choose the other.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use zip::ZipArchive;

use crate::components::HeaderComponent;
use crate::{CapError, ComponentTag, Form, RawComponent};

/// The most bytes that all components of a CAP file may have: far more than any card's memory.
pub const MAX_CAP_BYTES: usize = 4 << 20;

const MAX_ENTRIES: usize = 4096;
const MAX_MANIFEST_BYTES: usize = 64 << 10;

/// The main and named attributes of `META-INF/MANIFEST.MF`, such as `Java-Card-Package-Name`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manifest {
    attributes: BTreeMap<String, String>,
}

impl Manifest {
    /// The value of an attribute; names are compared without case. The first section that has it counts.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(&name.to_ascii_lowercase()).map(String::as_str)
    }

    /// Lines `Name: value`; a line that begins with a space continues the one before.
    fn parse(text: &str) -> Self {
        let mut attributes = BTreeMap::new();
        let mut current: Option<(String, String)> = None;
        for line in text.lines().chain([""]) {
            if let (Some(more), Some((_, value))) = (line.strip_prefix(' '), current.as_mut()) {
                value.push_str(more);
                continue;
            }
            if let Some((name, value)) = current.take() {
                attributes.entry(name).or_insert(value);
            }
            if let Some((name, value)) = line.split_once(':') {
                current = Some((name.trim().to_ascii_lowercase(), value.trim_start().to_owned()));
            }
        }
        Self { attributes }
    }
}

/// What an archive holds.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) components: Vec<RawComponent>,
    pub(crate) manifest: Manifest,
    /// The folder of the components ends with `javacard`.
    pub(crate) is_in_javacard_folder: bool,
}

/// Reads the components of an archive, in the order of their entries.
pub(crate) fn read(bytes: &[u8]) -> Result<Contents, CapError> {
    let damaged = |error: &dyn core::fmt::Display| CapError::Archive(error.to_string());
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| damaged(&error))?;
    if archive.len() > MAX_ENTRIES {
        return Err(CapError::TooLarge { limit: MAX_ENTRIES, of: "entries" });
    }
    archive.validate_header_consistency().map_err(|error| damaged(&error))?;
    let mut files = Vec::new();
    let mut manifest = Manifest::default();
    let mut folder: Option<String> = None;
    let mut budget = MAX_CAP_BYTES;
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(|error| damaged(&error))?;
        let name = entry.name().map_err(|error| damaged(&error))?.replace('\\', "/");
        if name.eq_ignore_ascii_case("META-INF/MANIFEST.MF") {
            let text = read_entry(entry, MAX_MANIFEST_BYTES)?;
            manifest = Manifest::parse(&String::from_utf8_lossy(&text));
            continue;
        }
        let Some(parent) = component_folder(&name) else { continue };
        match &folder {
            Some(first) if !first.eq_ignore_ascii_case(parent) => {
                let (first, second) = (first.clone(), parent.to_owned());
                return Err(CapError::TwoCapFiles { first, second });
            }
            Some(_) => {}
            None => folder = Some(parent.to_owned()),
        }
        let content = read_entry(entry, budget)?;
        budget -= content.len();
        files.push((name, content));
    }
    let is_in_javacard_folder = folder.is_some_and(|folder| is_javacard(&folder));
    Ok(Contents { components: frame(&files)?, manifest, is_in_javacard_folder })
}

/// The folder of an entry that is a component file: `.cap` or `.capx`, and not in a folder of the JAR's own.
fn component_folder(name: &str) -> Option<&str> {
    let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
    let (_, extension) = file.rsplit_once('.')?;
    let is_component = extension.eq_ignore_ascii_case("cap") || extension.eq_ignore_ascii_case("capx");
    let in_meta = folder.to_ascii_uppercase().starts_with("META-INF");
    (is_component && !in_meta).then_some(folder)
}

fn is_javacard(folder: &str) -> bool {
    folder.rsplit('/').next().is_some_and(|last| last.eq_ignore_ascii_case("javacard"))
}

/// Inflates one entry and stops at the limit, whatever size the archive states.
fn read_entry(entry: impl Read, limit: usize) -> Result<Vec<u8>, CapError> {
    let mut content = Vec::new();
    let read = entry.take(limit as u64 + 1).read_to_end(&mut content);
    read.map_err(|error| CapError::Archive(error.to_string()))?;
    if content.len() > limit {
        return Err(CapError::TooLarge { limit: MAX_CAP_BYTES, of: "bytes" });
    }
    Ok(content)
}

/// Frames the component files: the form comes from the Header, wherever it stands in the archive.
fn frame(files: &[(String, Vec<u8>)]) -> Result<Vec<RawComponent>, CapError> {
    let form = form_of(files)?;
    let mut components = Vec::new();
    for (name, content) in files {
        let component = RawComponent::parse_prefix(content, form)
            .map_err(|fault| CapError::Archive(format!("the file {name:?} is no component: {fault}")))?;
        let extra = content.len() - component.bytes().len();
        if extra > 0 {
            let reason = format!("the size item leaves {extra} bytes of {name:?} over");
            return Err(crate::Fault::new(component.tag(), component.info().len(), reason).into());
        }
        if !is_name_of(name, component.tag()) {
            let reason = format!("the file {name:?} holds a {} component", component.tag());
            return Err(CapError::Archive(reason));
        }
        components.push(component);
    }
    Ok(components)
}

fn form_of(files: &[(String, Vec<u8>)]) -> Result<Form, CapError> {
    let header = files.iter().find(|(_, content)| content.first() == Some(&ComponentTag::Header.number()));
    let Some((_, content)) = header else {
        return Err(CapError::Missing(ComponentTag::Header));
    };
    let component = RawComponent::parse_prefix(content, Form::Compact)?;
    Ok(HeaderComponent::parse(&component)?.form())
}

/// A standard component stands under its own name (a vendor chooses the names of its own).
fn is_name_of(path: &str, tag: ComponentTag) -> bool {
    if matches!(tag, ComponentTag::Custom(_) | ComponentTag::Reserved(_)) {
        return true;
    }
    let file = path.rsplit('/').next().unwrap_or(path);
    let stem = file.split('.').next().unwrap_or(file);
    stem.eq_ignore_ascii_case(tag.file_stem()) || stem.eq_ignore_ascii_case(&tag.to_string())
}
