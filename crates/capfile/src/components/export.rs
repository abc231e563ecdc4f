//! Export component (JCVM 3.1, 6.13).

use super::MethodLocation;
use crate::reader::Reader;
use crate::{ComponentTag, Fault, Form, RawComponent};

/// What other packages may link to of one class. Its index is its class token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassExport {
    /// The class or interface, as an offset into the Class component's info item.
    pub class_offset: u16,
    /// Static fields by token, as offsets into the static field image.
    pub static_fields: Vec<u16>,
    /// Static methods and constructors by token.
    pub static_methods: Vec<MethodLocation>,
    /// Where the entry begins in the info item.
    pub(crate) offset: usize,
}

/// What other packages may link to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportComponent {
    /// The classes of each package, by token; one package in a compact file.
    pub packages: Vec<Vec<ClassExport>>,
}

impl ExportComponent {
    pub(crate) fn parse(component: &RawComponent, form: Form) -> Result<Self, Fault> {
        let mut reader = Reader::new(ComponentTag::Export, component.info());
        let package_count = match form {
            Form::Compact => 1,
            Form::Extended => reader.u1("the package count")?,
        };
        let mut packages = Vec::new();
        for _ in 0..package_count {
            let class_count = reader.u1("the class count")?;
            let mut classes = Vec::new();
            for _ in 0..class_count {
                classes.push(parse_class(&mut reader, form)?);
            }
            packages.push(classes);
        }
        reader.finish()?;
        Ok(Self { packages })
    }
}

fn parse_class(reader: &mut Reader<'_>, form: Form) -> Result<ClassExport, Fault> {
    let offset = reader.offset();
    let class_offset = reader.u2("an exported class")?;
    let field_count = reader.u1("an exported class's field count")?;
    let method_count = reader.u1("an exported class's method count")?;
    let static_fields =
        (0..field_count).map(|_| reader.u2("an exported field")).collect::<Result<Vec<_>, Fault>>()?;
    let static_methods = (0..method_count)
        .map(|_| MethodLocation::parse(reader, form, "an exported method"))
        .collect::<Result<Vec<_>, Fault>>()?;
    Ok(ClassExport { class_offset, static_fields, static_methods, offset })
}
