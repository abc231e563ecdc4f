//! Header component (JCVM 3.1, 6.4).

use crate::reader::Reader;
use crate::{ComponentTag, Fault, Form, Format, PackageInfo, RawComponent};

const MAGIC: u32 = 0xDECA_FFED;

/// The flags of the Header component (JCVM 3.1, table 6-3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderFlags(pub u8);

impl HeaderFlags {
    /// ACC_INT: the type int is used.
    pub const INT: u8 = 0x01;
    /// ACC_EXPORT: there is an Export component.
    pub const EXPORT: u8 = 0x02;
    /// ACC_APPLET: there is an Applet component.
    pub const APPLET: u8 = 0x04;
    /// ACC_EXTENDED: the extended form.
    pub const EXTENDED: u8 = 0x08;

    /// Whether all bits of `mask` are set.
    pub const fn has(self, mask: u8) -> bool {
        self.0 & mask == mask
    }
}

/// What the CAP file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderComponent {
    /// The file format.
    pub format: Format,
    /// The flags.
    pub flags: HeaderFlags,
    /// The package of a compact file; the CAP AID and version of an extended one.
    pub package: PackageInfo,
    /// The packages inside: one in a compact file.
    pub packages: Vec<PackageInfo>,
    /// Their names where the file gives them, in internal form (`com/example/card`).
    pub package_names: Vec<String>,
}

impl HeaderComponent {
    /// The form that the flags state.
    pub const fn form(&self) -> Form {
        if self.flags.has(HeaderFlags::EXTENDED) { Form::Extended } else { Form::Compact }
    }

    pub(crate) fn parse(component: &RawComponent) -> Result<Self, Fault> {
        let mut reader = Reader::new(ComponentTag::Header, component.info());
        let magic = reader.u4("the magic number")?;
        if magic != MAGIC {
            return Err(reader.fault_at(0, format!("the magic number is {magic:08X} and not DECAFFED")));
        }
        let format = parse_format(&mut reader)?;
        let flags_offset = reader.offset();
        let flags = HeaderFlags(reader.u1("the flags")?);
        if flags.has(HeaderFlags::EXTENDED) && format < Format::V2_3 {
            let reason = format!("ACC_EXTENDED is set in a file of format {format}, and came with 2.3");
            return Err(reader.fault_at(flags_offset, reason));
        }
        let package = reader.package_info("the package")?;
        let packages = match flags.has(HeaderFlags::EXTENDED) {
            true => parse_packages(&mut reader)?,
            false => vec![package],
        };
        let package_names = parse_names(&mut reader, format, packages.len())?;
        reader.finish()?;
        Ok(Self { format, flags, package, packages, package_names })
    }
}

fn parse_format(reader: &mut Reader<'_>) -> Result<Format, Fault> {
    let offset = reader.offset();
    let minor = reader.u1("the minor version of the file format")?;
    let major = reader.u1("the major version of the file format")?;
    match (major, minor) {
        (2, 1) => Ok(Format::V2_1),
        (2, 2) => Ok(Format::V2_2),
        (2, 3) => Ok(Format::V2_3),
        _ => Err(reader.fault_at(offset, format!("file format {major}.{minor} is none of 2.1, 2.2 and 2.3"))),
    }
}

fn parse_packages(reader: &mut Reader<'_>) -> Result<Vec<PackageInfo>, Fault> {
    let offset = reader.offset();
    let count = reader.u1("the package count")?;
    if count == 0 {
        return Err(reader.fault_at(offset, "an extended CAP file holds at least one package"));
    }
    (0..count).map(|_| reader.package_info("a package")).collect()
}

/// The names came with format 2.2. Converters disagree on writing an empty one, so that its absence is no
/// fault, and a name in a file that says 2.1 is read as one.
fn parse_names(reader: &mut Reader<'_>, format: Format, count: usize) -> Result<Vec<String>, Fault> {
    let mut names = Vec::new();
    if reader.is_empty() && format <= Format::V2_2 {
        return Ok(names);
    }
    for _ in 0..count {
        if reader.is_empty() {
            break;
        }
        let offset = reader.offset();
        let name = reader.counted("the package name")?;
        let name = core::str::from_utf8(name)
            .map_err(|_| reader.fault_at(offset, "the package name is not UTF-8"))?;
        names.push(name.to_owned());
    }
    Ok(names)
}
