//! Component tags, file names, framing and the small structures that many components share
//! (JCVM 3.1, 6.1 to 6.3).

use core::fmt;

use tsm_iso7816::Aid;

use crate::Fault;

/// Which component (JCVM 3.1, table 6-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ComponentTag {
    /// 1: magic, format, flags and the package.
    Header,
    /// 2: sizes of all components.
    Directory,
    /// 3: the applets.
    Applet,
    /// 4: the packages that this one uses.
    Import,
    /// 5: references from the bytecode.
    ConstantPool,
    /// 6: interfaces and classes.
    Class,
    /// 7: bytecode and exception handlers.
    Method,
    /// 8: the image of the static fields.
    StaticField,
    /// 9: where the bytecode holds constant-pool indices.
    ReferenceLocation,
    /// 10: what other packages may link to.
    Export,
    /// 11: types and access, for verification.
    Descriptor,
    /// 12: names and lines, for debugging; never loaded.
    Debug,
    /// 13: resources, since format 2.3.
    StaticResources,
    /// 0 and 14 to 127: not defined.
    Reserved(u8),
    /// 128 to 255: a vendor's own.
    Custom(u8),
}

impl ComponentTag {
    /// The order in which components are installed (JCVM 3.1, 6.3), Descriptor last.
    pub const LOAD_ORDER: [Self; 12] = [
        Self::Header,
        Self::Directory,
        Self::Import,
        Self::Applet,
        Self::Class,
        Self::Method,
        Self::StaticField,
        Self::Export,
        Self::ConstantPool,
        Self::ReferenceLocation,
        Self::StaticResources,
        Self::Descriptor,
    ];

    /// The component of a tag byte.
    pub const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Header,
            2 => Self::Directory,
            3 => Self::Applet,
            4 => Self::Import,
            5 => Self::ConstantPool,
            6 => Self::Class,
            7 => Self::Method,
            8 => Self::StaticField,
            9 => Self::ReferenceLocation,
            10 => Self::Export,
            11 => Self::Descriptor,
            12 => Self::Debug,
            13 => Self::StaticResources,
            128..=255 => Self::Custom(number),
            _ => Self::Reserved(number),
        }
    }

    /// The tag byte.
    pub const fn number(self) -> u8 {
        match self {
            Self::Header => 1,
            Self::Directory => 2,
            Self::Applet => 3,
            Self::Import => 4,
            Self::ConstantPool => 5,
            Self::Class => 6,
            Self::Method => 7,
            Self::StaticField => 8,
            Self::ReferenceLocation => 9,
            Self::Export => 10,
            Self::Descriptor => 11,
            Self::Debug => 12,
            Self::StaticResources => 13,
            Self::Reserved(number) | Self::Custom(number) => number,
        }
    }

    /// The name of its file in the archive without extension (JCVM 3.1, table 6-2).
    pub const fn file_stem(self) -> &'static str {
        match self {
            Self::Header => "Header",
            Self::Directory => "Directory",
            Self::Applet => "Applet",
            Self::Import => "Import",
            Self::ConstantPool => "ConstantPool",
            Self::Class => "Class",
            Self::Method => "Method",
            Self::StaticField => "StaticField",
            Self::ReferenceLocation => "RefLocation",
            Self::Export => "Export",
            Self::Descriptor => "Descriptor",
            Self::Debug => "Debug",
            Self::StaticResources => "StaticResources",
            Self::Reserved(_) => "Reserved",
            Self::Custom(_) => "Custom",
        }
    }

    /// The name of its file in the archive.
    pub fn file_name(self, form: Form) -> String {
        let extension = if self.has_wide_size(form) { "capx" } else { "cap" };
        format!("{}.{extension}", self.file_stem())
    }

    /// Whether the size item has four bytes (JCVM 3.1, 6.1).
    pub const fn has_wide_size(self, form: Form) -> bool {
        match self {
            Self::StaticResources => true,
            Self::Method | Self::ReferenceLocation | Self::Descriptor | Self::Debug | Self::Custom(_) => {
                matches!(form, Form::Extended)
            }
            Self::Header
            | Self::Directory
            | Self::Applet
            | Self::Import
            | Self::ConstantPool
            | Self::Class
            | Self::StaticField
            | Self::Export
            | Self::Reserved(_) => false,
        }
    }
}

impl fmt::Display for ComponentTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReferenceLocation => f.write_str("ReferenceLocation"),
            Self::Reserved(number) | Self::Custom(number) => write!(f, "{}({number})", self.file_stem()),
            Self::Header
            | Self::Directory
            | Self::Applet
            | Self::Import
            | Self::ConstantPool
            | Self::Class
            | Self::Method
            | Self::StaticField
            | Self::Export
            | Self::Descriptor
            | Self::Debug
            | Self::StaticResources => f.write_str(self.file_stem()),
        }
    }
}

/// Compact, or extended since format 2.3 (JCVM 3.1, 6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// One package; no component over 65,535 bytes.
    Compact,
    /// One or several packages; code in up to 128 blocks.
    Extended,
}

/// A file format that the specification defines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// 2.1: Java Card 2.1 on.
    V2_1,
    /// 2.2: Java Card 2.2 on; remote interfaces.
    V2_2,
    /// 2.3: Java Card 3.1 on; static resources, the extended form.
    V2_3,
}

impl Format {
    /// The minor version; the major is 2.
    pub const fn minor(self) -> u8 {
        match self {
            Self::V2_1 => 1,
            Self::V2_2 => 2,
            Self::V2_3 => 3,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "2.{}", self.minor())
    }
}

/// A package's version (JCVM 4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PackageVersion {
    /// Changes when links break.
    pub major: u8,
    /// Changes when something is added.
    pub minor: u8,
}

impl fmt::Display for PackageVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A package by AID and version (JCVM 6.4, package_info).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PackageInfo {
    /// Its AID.
    pub aid: Aid,
    /// Its version.
    pub version: PackageVersion,
}

impl fmt::Display for PackageInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.aid, self.version)
    }
}

/// A component as it stands in the archive and on the wire: tag, size, info.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawComponent {
    tag: ComponentTag,
    bytes: Vec<u8>,
    prefix: usize,
}

impl RawComponent {
    /// Reads the component at the start of `bytes`; what follows it is left alone.
    pub(crate) fn parse_prefix(bytes: &[u8], form: Form) -> Result<Self, Fault> {
        let Some(number) = bytes.first() else {
            return Err(Fault::new(ComponentTag::Reserved(0), 0, "the component is empty"));
        };
        let tag = ComponentTag::from_number(*number);
        let width = if tag.has_wide_size(form) { 4 } else { 2 };
        let Some(size) = bytes.get(1..1 + width) else {
            return Err(Fault::new(tag, 0, "the component ends within its size item"));
        };
        let size = size.iter().fold(0usize, |size, byte| size << 8 | usize::from(*byte));
        let prefix = 1 + width;
        let found = bytes.len() - prefix;
        if size > found {
            let reason = format!("the size item says {size} bytes and {found} are there");
            return Err(Fault::new(tag, found, reason));
        }
        Ok(Self { tag, bytes: bytes[..prefix + size].to_vec(), prefix })
    }

    /// Frames an info item. `None` when it is too long for the size item.
    pub(crate) fn frame(tag: ComponentTag, form: Form, info: &[u8]) -> Option<Self> {
        let mut bytes = vec![tag.number()];
        if tag.has_wide_size(form) {
            bytes.extend(u32::try_from(info.len()).ok()?.to_be_bytes());
        } else {
            bytes.extend(u16::try_from(info.len()).ok()?.to_be_bytes());
        }
        let prefix = bytes.len();
        bytes.extend(info);
        Some(Self { tag, bytes, prefix })
    }

    /// Which component it is.
    pub const fn tag(&self) -> ComponentTag {
        self.tag
    }

    /// Tag, size and info.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The info item.
    pub fn info(&self) -> &[u8] {
        &self.bytes[self.prefix..]
    }
}
