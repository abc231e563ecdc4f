//! Writes small valid CAP files: demo packages, test packages of a wanted size, libraries.
//!
//! Each applet answers every command that is not its own selection with 6D00:
//!
//! ```text
//! install(byte[], short, byte)  { new ThisApplet().register(); }
//! process(APDU)                 { if (selectingApplet()) return; ISOException.throwIt(0x6D00); }
//! ```
//!
//! A package without an applet is a library that exports one class with a constructor.

mod image;

use std::io::{Cursor, Write};
use tsm_iso7816::Aid;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::{
    CapError, CapFile, ComponentTag, Descriptor, Form, Format, PackageInfo, PackageVersion, RawComponent,
};

/// How the builder writes the archive's entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    Stored,
    /// Deflated, as converters do.
    Deflated,
}

/// Why a CAP file cannot be built as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// A component is longer than its size item can say.
    #[error("the {0} component would be longer than its size item can say")]
    TooLong(ComponentTag),
    /// More than one byte can count.
    #[error("{0} applets are more than a CAP file can hold")]
    TooManyApplets(usize),
    /// The extended form came with format 2.3.
    #[error("the extended form came with format 2.3, and the format asked for is {0}")]
    ExtendedBefore23(Format),
    /// A package name has up to 255 bytes.
    #[error("the package name has {0} bytes, and 255 are allowed")]
    NameTooLong(usize),
    /// The archive cannot be written.
    #[error("the archive cannot be written: {0}")]
    Archive(String),
    /// What was built is no CAP file: a bug in this builder.
    #[error("the built file is not a CAP file: {0}")]
    Invalid(#[from] CapError),
}

/// A CAP file to be written.
#[derive(Debug, Clone)]
pub struct CapBuilder {
    package: PackageInfo,
    name: String,
    applets: Vec<Aid>,
    format: Format,
    form: Form,
    framework: PackageVersion,
    language: PackageVersion,
    padding: usize,
    descriptor: Descriptor,
    debug: Option<Vec<u8>>,
    custom: Vec<(u8, Aid, Vec<u8>)>,
    resources: Vec<(u16, Vec<u8>)>,
    compression: Compression,
}

impl CapBuilder {
    /// A library of version 1.0 in format 2.1 without applets, importing Java Card 2.2.1's packages.
    pub fn new(package_aid: Aid) -> Self {
        Self {
            package: PackageInfo { aid: package_aid, version: PackageVersion { major: 1, minor: 0 } },
            name: "org/opentsm/built".to_owned(),
            applets: Vec::new(),
            format: Format::V2_1,
            form: Form::Compact,
            framework: PackageVersion { major: 1, minor: 2 },
            language: PackageVersion { major: 1, minor: 0 },
            padding: 0,
            descriptor: Descriptor::Include,
            debug: None,
            custom: Vec::new(),
            resources: Vec::new(),
            compression: Compression::Deflated,
        }
    }

    /// The package version.
    #[must_use]
    pub fn version(self, major: u8, minor: u8) -> Self {
        Self { package: PackageInfo { version: PackageVersion { major, minor }, ..self.package }, ..self }
    }

    /// The package name in internal form, which also is its path in the archive.
    #[must_use]
    pub fn package_name(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// One more applet.
    #[must_use]
    pub fn applet(mut self, aid: Aid) -> Self {
        self.applets.push(aid);
        self
    }

    /// The file format.
    #[must_use]
    pub fn format(self, format: Format) -> Self {
        Self { format, ..self }
    }

    /// Compact or extended; the extended form needs format 2.3.
    #[must_use]
    pub fn form(self, form: Form) -> Self {
        Self { form, ..self }
    }

    /// The versions of `javacard.framework` and `java.lang` that the package imports.
    #[must_use]
    pub fn imports(self, framework: PackageVersion, language: PackageVersion) -> Self {
        Self { framework, language, ..self }
    }

    /// Adds `bytes` bytes of code that does nothing, so that the package takes that much more of a card.
    #[must_use]
    pub fn padding(self, bytes: usize) -> Self {
        Self { padding: bytes, ..self }
    }

    /// With or without a Descriptor component.
    #[must_use]
    pub fn descriptor(self, descriptor: Descriptor) -> Self {
        Self { descriptor, ..self }
    }

    /// Adds a Debug component with this info item. It is never loaded.
    #[must_use]
    pub fn debug(self, info: Vec<u8>) -> Self {
        Self { debug: Some(info), ..self }
    }

    /// Adds a vendor's component: tag 128 to 255, the AID of its kind, its info item.
    #[must_use]
    pub fn custom_component(mut self, tag: u8, aid: Aid, info: Vec<u8>) -> Self {
        self.custom.push((tag, aid, info));
        self
    }

    /// Adds a static resource (format 2.3).
    #[must_use]
    pub fn static_resource(mut self, id: u16, bytes: Vec<u8>) -> Self {
        self.resources.push((id, bytes));
        self
    }

    /// How the archive's entries are written.
    #[must_use]
    pub fn compression(self, compression: Compression) -> Self {
        Self { compression, ..self }
    }

    /// The CAP file as a JAR.
    pub fn build(&self) -> Result<Vec<u8>, BuildError> {
        self.archive(&self.components()?)
    }

    /// The CAP file, read.
    pub fn build_cap(&self) -> Result<CapFile, BuildError> {
        Ok(CapFile::parse(&self.build()?)?)
    }

    /// The components, in the order of their tags.
    pub fn components(&self) -> Result<Vec<RawComponent>, BuildError> {
        if self.form == Form::Extended && self.format < Format::V2_3 {
            return Err(BuildError::ExtendedBefore23(self.format));
        }
        // Each applet takes two of the constant pool's entries and one of the 255 class descriptors.
        if self.applets.len() > 200 {
            return Err(BuildError::TooManyApplets(self.applets.len()));
        }
        if self.name.len() > 255 {
            return Err(BuildError::NameTooLong(self.name.len()));
        }
        image::components(self)
    }

    fn archive(&self, components: &[RawComponent]) -> Result<Vec<u8>, BuildError> {
        let failed = |error: zip::result::ZipError| BuildError::Archive(error.to_string());
        let method = match self.compression {
            Compression::Stored => CompressionMethod::Stored,
            Compression::Deflated => CompressionMethod::Deflated,
        };
        let options = SimpleFileOptions::default().compression_method(method);
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        let mut file = |name: &str, content: &[u8]| {
            writer.start_file(name, options).map_err(failed)?;
            writer.write_all(content).map_err(|error| BuildError::Archive(error.to_string()))
        };
        file("META-INF/MANIFEST.MF", self.manifest().as_bytes())?;
        for component in components {
            let name = match component.tag() {
                ComponentTag::Custom(number) => format!("Custom{number}.cap"),
                tag => tag.file_name(self.form),
            };
            file(&format!("{}/javacard/{name}", self.name), component.bytes())?;
        }
        Ok(writer.finish().map_err(failed)?.into_inner())
    }

    fn manifest(&self) -> String {
        let mut text = format!(
            "Manifest-Version: 1.0\r\nCreated-By: OpenTSM\r\n\r\nName: {}\r\n\
             Java-Card-CAP-File-Version: {}\r\nJava-Card-Package-Version: {}\r\n",
            self.name, self.format, self.package.version
        );
        text.push_str(&format!("Java-Card-Package-Name: {}\r\n", self.name.replace('/', ".")));
        text.push_str(&format!("Java-Card-Package-AID: {}\r\n", manifest_aid(&self.package.aid)));
        for (index, aid) in self.applets.iter().enumerate() {
            text.push_str(&format!("Java-Card-Applet-{}-AID: {}\r\n", index + 1, manifest_aid(aid)));
        }
        text
    }
}

/// Manifests write AIDs as `0xa0:0x00:...`.
fn manifest_aid(aid: &Aid) -> String {
    let bytes: Vec<String> = aid.as_bytes().iter().map(|byte| format!("0x{byte:02x}")).collect();
    bytes.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LoadFile, verify};

    const PACKAGE: Aid = Aid::constant(&[0xF0, 0x4F, 0x54, 0x53, 0x4D, 1, 5]);

    fn module(number: u8) -> Aid {
        Aid::new(&[0xF0, 0x4F, 0x54, 0x53, 0x4D, 1, 5, 1, number]).unwrap()
    }

    /// Every kind of package that the builder can write is a CAP file that the verifier accepts.
    #[test]
    fn what_is_built_passes_the_verifier() {
        for format in [Format::V2_1, Format::V2_2, Format::V2_3] {
            for form in [Form::Compact, Form::Extended] {
                for applets in 0..4 {
                    for descriptor in [Descriptor::Include, Descriptor::Omit] {
                        let mut builder = CapBuilder::new(PACKAGE)
                            .format(format)
                            .form(form)
                            .descriptor(descriptor)
                            .padding(300);
                        for number in 0..applets {
                            builder = builder.applet(module(number));
                        }
                        check(&builder);
                    }
                }
            }
        }
    }

    fn check(builder: &CapBuilder) {
        if builder.form == Form::Extended && builder.format < Format::V2_3 {
            assert_eq!(builder.build(), Err(BuildError::ExtendedBefore23(builder.format)));
            return;
        }
        let cap = builder.build_cap().unwrap();
        let remarks = verify(&cap).unwrap_or_else(|refused| panic!("{builder:?}: {refused}"));
        let expected = usize::from(builder.descriptor == Descriptor::Omit);
        assert_eq!(remarks.len(), expected, "{remarks:?}");
        assert_eq!(cap.package_aid(), PACKAGE);
        let load_file = LoadFile::parse(&cap.load_file_data_block(Descriptor::Include)).unwrap();
        assert_eq!(load_file.modules(), builder.applets);
        assert_eq!(load_file.imports(), cap.imports());
        assert_eq!(load_file.sizes(), cap.sizes());
    }
}
