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
        // A name with a line break has been used to smuggle commands into loaders' scripts.
        if name.chars().any(char::is_control) {
            return Err(CapError::Archive(format!("the file name {name:?} holds a control character")));
        }
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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tsm_iso7816::Aid;
    use zip::write::SimpleFileOptions;
    use zip::{CompressionMethod, ZipWriter};

    use super::*;
    use crate::{CapBuilder, CapFile, Compression, Descriptor, Remark, verify};

    const PACKAGE: Aid = Aid::constant(&[0xF0, 0x4F, 0x54, 0x53, 0x4D, 1, 5]);

    fn builder() -> CapBuilder {
        let module = Aid::new(&[0xF0, 0x4F, 0x54, 0x53, 0x4D, 1, 5, 1, 1]).unwrap();
        CapBuilder::new(PACKAGE).applet(module)
    }

    /// The components' files as `folder/Name.cap`.
    fn files(folder: &str) -> Vec<(String, Vec<u8>)> {
        let components = builder().components().unwrap();
        components
            .iter()
            .map(|component| {
                let name = component.tag().file_name(Form::Compact);
                (format!("{folder}{name}"), component.bytes().to_vec())
            })
            .collect()
    }

    fn zip(files: &[(String, Vec<u8>)]) -> Vec<u8> {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in files {
            writer.start_file(name.as_str(), options).unwrap();
            writer.write_all(content).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    #[test]
    fn stored_and_deflated_archives_hold_the_same() {
        let stored = builder().compression(Compression::Stored).build().unwrap();
        let deflated = builder().compression(Compression::Deflated).build().unwrap();
        assert_ne!(stored, deflated);
        assert_eq!(CapFile::parse(&stored).unwrap(), CapFile::parse(&deflated).unwrap());
    }

    #[test]
    fn the_manifest_is_read() {
        let cap = builder().package_name("com/example/card").build_cap().unwrap();
        assert_eq!(cap.manifest().attribute("java-card-package-name"), Some("com.example.card"));
        assert_eq!(cap.manifest().attribute("Java-Card-Applet-2-AID"), None);
        let manifest = Manifest::parse("A: one\r\n two\r\n\r\nB:three\nA: four\nno colon\n");
        assert_eq!(manifest.attribute("a"), Some("onetwo"));
        assert_eq!(manifest.attribute("B"), Some("three"));
    }

    /// Converters differ in folders and letter case; loaders' own files stand beside the components.
    #[test]
    fn folders_and_case_vary() {
        for folder in ["javacard/", "com/example/javacard/", "COM\\EXAMPLE\\JavaCard\\"] {
            let mut files = files(folder);
            files.insert(0, ("META-INF/MANIFEST.MF".to_owned(), b"Manifest-Version: 1.0\n".to_vec()));
            files.push(("APPLET-INF/applet.xml".to_owned(), b"<applet-app/>".to_vec()));
            files.push(("com/example/Thing.class".to_owned(), vec![0xCA, 0xFE]));
            files.push((format!("{folder}example.exp"), vec![0, 0xFA, 0xCA, 0xDE]));
            let cap = CapFile::parse(&zip(&files)).unwrap();
            assert_eq!(cap.package_aid(), PACKAGE);
            assert_eq!(verify(&cap), Ok(Vec::new()), "{folder}");
            let lower: Vec<_> =
                files.into_iter().map(|(name, content)| (name.to_lowercase(), content)).collect();
            assert_eq!(CapFile::parse(&zip(&lower)).unwrap().components(), cap.components());
        }
        let bare = CapFile::parse(&zip(&files(""))).unwrap();
        let remarks: Vec<String> = verify(&bare).unwrap().iter().map(Remark::to_string).collect();
        assert_eq!(remarks.len(), 1, "{remarks:?}");
        assert!(remarks[0].contains("folder named javacard"), "{remarks:?}");
    }

    #[test]
    fn components_one_after_another_are_read_too() {
        let cap = builder().build_cap().unwrap();
        let sequence = cap.load_file_data_block(Descriptor::Include);
        assert_eq!(CapFile::parse(&sequence).unwrap().components(), cap.components());
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let mut two = files("a/javacard/");
        two.extend(files("b/javacard/"));
        assert!(matches!(CapFile::parse(&zip(&two)), Err(CapError::TwoCapFiles { .. })));

        let mut cased = files("a/javacard/");
        let (_, header) = cased.iter().find(|(name, _)| name.ends_with("Header.cap")).unwrap().clone();
        cased.push(("a/javacard/HEADER.CAP".to_owned(), header.clone()));
        assert_eq!(CapFile::parse(&zip(&cased)), Err(CapError::Duplicate(ComponentTag::Header)));

        let mut disguised = files("a/javacard/");
        disguised.push(("a/javacard/Export.cap".to_owned(), header.clone()));
        assert!(matches!(CapFile::parse(&zip(&disguised)), Err(CapError::Archive(_))));

        let mut broken = files("a/javacard/");
        broken.push(("a/javacard/x\n/../Export.cap".to_owned(), header));
        assert!(CapFile::parse(&zip(&broken)).is_err());
    }

    /// The central directory is what hosts with an index read, local headers are what streaming hosts read.
    #[test]
    fn duplicate_entries_are_refused() {
        let mut files = files("a/javacard/");
        files.push(("a/javacard/Xeader.cap".to_owned(), files[0].1.clone()));
        let mut bytes = zip(&files);
        let name = b"a/javacard/Xeader.cap";
        for at in 0..bytes.len() - name.len() {
            if bytes[at..].starts_with(name) {
                bytes[at + 11] = b'H';
            }
        }
        let error = CapFile::parse(&bytes).unwrap_err();
        assert!(matches!(error, CapError::Archive(_) | CapError::Duplicate(_)), "{error}");
    }

    #[test]
    fn missing_components_are_named() {
        for tag in [ComponentTag::Header, ComponentTag::Directory, ComponentTag::Method, ComponentTag::Class]
        {
            let name = tag.file_name(Form::Compact);
            let files: Vec<_> =
                files("javacard/").into_iter().filter(|(file, _)| !file.ends_with(&name)).collect();
            assert_eq!(CapFile::parse(&zip(&files)), Err(CapError::Missing(tag)));
        }
        assert_eq!(CapFile::parse(b""), Err(CapError::NotACapFile));
        assert_eq!(CapFile::parse(b"PDF"), Err(CapError::NotACapFile));
        assert_eq!(CapFile::parse(&zip(&[])), Err(CapError::Missing(ComponentTag::Header)));
        assert!(matches!(CapFile::parse(b"PK\x03\x04"), Err(CapError::Archive(_))));
    }

    /// A megabyte of archive must not become a gigabyte of memory.
    #[test]
    fn an_archive_bomb_is_refused() {
        let mut files = files("javacard/");
        files.push(("javacard/Bomb.cap".to_owned(), vec![0; MAX_CAP_BYTES + 1]));
        assert_eq!(
            CapFile::parse(&zip(&files)),
            Err(CapError::TooLarge { limit: MAX_CAP_BYTES, of: "bytes" })
        );
        let many: Vec<_> = (0..=MAX_ENTRIES).map(|number| (format!("{number}"), Vec::new())).collect();
        assert_eq!(
            CapFile::parse(&zip(&many)),
            Err(CapError::TooLarge { limit: MAX_ENTRIES, of: "entries" })
        );
    }

    #[test]
    fn a_size_item_that_leaves_bytes_over_is_refused() {
        let mut files = files("javacard/");
        files[3].1.push(0);
        let error = CapFile::parse(&zip(&files)).unwrap_err();
        assert!(error.to_string().contains("leaves 1 bytes"), "{error}");
    }

    /// Any bytes are read without a panic, and so is any archive that was a CAP file before some bytes of it
    /// changed.
    #[test]
    fn fuzz_archive() {
        let built = builder().build().unwrap();
        let stored = builder().compression(Compression::Stored).build().unwrap();
        bolero::check!().with_type::<(bool, Vec<(u16, u8)>, Vec<u8>)>().for_each(
            |(which, changes, plain)| {
                let mut bytes = if *which { stored.clone() } else { built.clone() };
                for (at, value) in changes {
                    let at = usize::from(*at) % bytes.len();
                    bytes[at] ^= value;
                }
                let changed = CapFile::parse(&bytes).map(|cap| verify(&cap).map(|_| ()));
                drop(changed);
                drop(CapFile::parse(plain));
            },
        );
    }
}
