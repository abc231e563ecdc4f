//! Descriptor component (JCVM 3.1, 6.14): types and access of everything that the file defines.

use std::collections::BTreeSet;

use super::{ClassRef, MethodLocation, StaticRef};
use crate::reader::Reader;
use crate::{ComponentTag, Fault, Form, RawComponent};

const ACC_STATIC: u8 = 0x08;

/// Which field a descriptor describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldRef {
    /// A static field; an internal one by its offset into the static field image.
    Static(StaticRef<u16>),
    /// An instance field.
    Instance {
        /// Its class.
        class: ClassRef,
        /// Its token.
        token: u8,
    },
}

/// JCVM 3.1, 6.14.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldDescriptor {
    /// Its token; FF without one.
    pub token: u8,
    /// Access flags.
    pub access_flags: u8,
    /// Which field.
    pub field: FieldRef,
    /// 8002 to 8005 for a primitive type, else an offset into the types.
    pub field_type: u16,
    /// Where the entry begins in the info item.
    pub(crate) offset: usize,
}

/// JCVM 3.1, 6.14.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MethodDescriptor {
    /// Its token; FF without one.
    pub token: u8,
    /// Access flags.
    pub access_flags: u8,
    /// Where the method is; zero for the methods of an interface.
    pub location: MethodLocation,
    /// Its signature, as an offset into the types.
    pub type_offset: u16,
    /// The length of its bytecode.
    pub bytecode_count: u16,
    /// How many exception handlers it has.
    pub handler_count: u16,
    /// The index of the first.
    pub handler_index: u16,
    /// Where the entry begins in the info item.
    pub(crate) offset: usize,
}

/// JCVM 3.1, 6.14.2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassDescriptor {
    /// Its token; FF without one.
    pub token: u8,
    /// Access flags: 01 public, 10 final, 40 interface, 80 abstract.
    pub access_flags: u8,
    /// The class itself.
    pub this_class: ClassRef,
    /// The interfaces it implements.
    pub interfaces: Vec<ClassRef>,
    /// Its fields.
    pub fields: Vec<FieldDescriptor>,
    /// Its methods.
    pub methods: Vec<MethodDescriptor>,
    /// Where the entry begins in the info item.
    pub(crate) offset: usize,
}

impl ClassDescriptor {
    /// Whether it describes an interface.
    pub const fn is_interface(&self) -> bool {
        self.access_flags & 0x40 != 0
    }
}

/// Field types and method signatures (JCVM 3.1, 6.14.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeDescriptors {
    /// For each constant, FFFF or the offset of its type.
    pub constant_types: Vec<u16>,
    /// Where the structure begins in the info item: type offsets count from here.
    pub(crate) start: usize,
    bytes: Vec<u8>,
    offsets: BTreeSet<usize>,
}

impl TypeDescriptors {
    /// The nibbles of the type at `offset`, if one begins there.
    pub fn nibbles(&self, offset: u16) -> Option<Vec<u8>> {
        let offset = usize::from(offset);
        if !self.offsets.contains(&offset) {
            return None;
        }
        let count = usize::from(*self.bytes.get(offset)?);
        let packed = self.bytes.get(offset + 1..offset + 1 + count.div_ceil(2))?;
        let mut nibbles: Vec<u8> = packed.iter().flat_map(|byte| [byte >> 4, byte & 0x0F]).collect();
        nibbles.truncate(count);
        Some(nibbles)
    }
}

/// Types and access of everything that the file defines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescriptorComponent {
    /// The classes of each package; one package in a compact file.
    pub packages: Vec<Vec<ClassDescriptor>>,
    /// The types.
    pub types: TypeDescriptors,
}

impl DescriptorComponent {
    /// All classes of all packages.
    pub fn classes(&self) -> impl Iterator<Item = &ClassDescriptor> {
        self.packages.iter().flatten()
    }

    pub(crate) fn parse(component: &RawComponent, form: Form) -> Result<Self, Fault> {
        let mut reader = Reader::new(ComponentTag::Descriptor, component.info());
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
        let types = parse_types(&mut reader)?;
        Ok(Self { packages, types })
    }
}

fn parse_class(reader: &mut Reader<'_>, form: Form) -> Result<ClassDescriptor, Fault> {
    let offset = reader.offset();
    let token = reader.u1("a class's token")?;
    let access_flags = reader.u1("a class's access flags")?;
    let this_class = ClassRef::from_u2(reader.u2("a class reference")?);
    let interface_count = reader.u1("a class's interface count")?;
    let field_count = reader.u2("a class's field count")?;
    let method_count = reader.u2("a class's method count")?;
    let mut interfaces = Vec::new();
    for _ in 0..interface_count {
        interfaces.push(ClassRef::from_u2(reader.u2("an interface")?));
    }
    let mut fields = Vec::new();
    for _ in 0..field_count {
        fields.push(parse_field(reader)?);
    }
    let mut methods = Vec::new();
    for _ in 0..method_count {
        methods.push(parse_method(reader, form)?);
    }
    Ok(ClassDescriptor { token, access_flags, this_class, interfaces, fields, methods, offset })
}

fn parse_field(reader: &mut Reader<'_>) -> Result<FieldDescriptor, Fault> {
    let offset = reader.offset();
    let token = reader.u1("a field's token")?;
    let access_flags = reader.u1("a field's access flags")?;
    let reference = reader.take(3, "a field's reference")?;
    let [a, b, c] = [reference[0], reference[1], reference[2]];
    let field = match (access_flags & ACC_STATIC != 0, a & 0x80 != 0) {
        (true, true) => FieldRef::Static(StaticRef::External { package: a & 0x7F, class: b, token: c }),
        (true, false) => FieldRef::Static(StaticRef::Internal(u16::from_be_bytes([b, c]))),
        (false, _) => FieldRef::Instance { class: ClassRef::from_u2(u16::from_be_bytes([a, b])), token: c },
    };
    let field_type = reader.u2("a field's type")?;
    Ok(FieldDescriptor { token, access_flags, field, field_type, offset })
}

fn parse_method(reader: &mut Reader<'_>, form: Form) -> Result<MethodDescriptor, Fault> {
    let offset = reader.offset();
    Ok(MethodDescriptor {
        token: reader.u1("a method's token")?,
        access_flags: reader.u1("a method's access flags")?,
        location: MethodLocation::parse(reader, form, "a method's location")?,
        type_offset: reader.u2("a method's type")?,
        bytecode_count: reader.u2("a method's length")?,
        handler_count: reader.u2("a method's handler count")?,
        handler_index: reader.u2("a method's first handler")?,
        offset,
    })
}

fn parse_types(reader: &mut Reader<'_>) -> Result<TypeDescriptors, Fault> {
    let start = reader.offset();
    let count = reader.u2("the count of constant types")?;
    let mut constant_types = Vec::new();
    for _ in 0..count {
        constant_types.push(reader.u2("a constant's type")?);
    }
    let mut offsets = BTreeSet::new();
    let mut bytes = vec![0; reader.offset() - start];
    while !reader.is_empty() {
        offsets.insert(reader.offset() - start);
        let nibble_count = reader.u1("a type")?;
        if nibble_count == 0 {
            return Err(reader.fault_at(reader.offset() - 1, "a type has no nibbles"));
        }
        bytes.push(nibble_count);
        bytes.extend(reader.take(usize::from(nibble_count).div_ceil(2), "a type")?);
    }
    if bytes.len() > 0xFFFF {
        return Err(reader.fault_at(start, "the types pass the 65535 bytes that their offsets can reach"));
    }
    Ok(TypeDescriptors { constant_types, start, bytes, offsets })
}
