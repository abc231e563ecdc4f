//! Class component (JCVM 3.1, 6.9).

use std::collections::BTreeSet;

use super::{ClassRef, MethodLocation};
use crate::reader::Reader;
use crate::{ComponentTag, Fault, Form, Format, RawComponent};

const ACC_INTERFACE: u8 = 0x80;
const ACC_SHAREABLE: u8 = 0x40;
const ACC_REMOTE: u8 = 0x20;

/// An entry of a virtual method table that belongs to a superclass of another package.
const NO_METHOD: u16 = 0xFFFF;

/// JCVM 3.1, 6.9.2.2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceInfo {
    /// Where it begins in the info item: its internal class reference.
    pub offset: usize,
    /// Whether it is or extends `javacard.framework.Shareable`.
    pub is_shareable: bool,
    /// Its superinterfaces, direct and indirect.
    pub superinterfaces: Vec<ClassRef>,
    /// Its name, if it is remote.
    pub remote_name: Option<Vec<u8>>,
}

/// Which methods of a class implement an interface (JCVM 3.1, 6.9.2.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImplementedInterface {
    /// The interface.
    pub interface: ClassRef,
    /// The class's virtual method token for each of the interface's tokens.
    pub tokens: Vec<u8>,
}

/// JCVM 3.1, 6.9.2.6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteMethod {
    /// The hash that names it.
    pub hash: u16,
    /// Its signature, as an offset into the Class component's info item.
    pub signature_offset: u16,
    /// Its virtual method token.
    pub token: u8,
}

/// What a remote class adds (JCVM 3.1, 6.9.2.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteInterfaceInfo {
    /// The remote methods.
    pub methods: Vec<RemoteMethod>,
    /// The hash modifier.
    pub hash_modifier: Vec<u8>,
    /// The class's name.
    pub class_name: Vec<u8>,
    /// The remote interfaces.
    pub interfaces: Vec<ClassRef>,
}

/// JCVM 3.1, 6.9.2.3 and 6.9.2.4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassInfo {
    /// Where it begins in the info item: its internal class reference.
    pub offset: usize,
    /// Whether it implements a shareable interface.
    pub is_shareable: bool,
    /// Its superclass; none for `java.lang.Object`.
    pub superclass: Option<ClassRef>,
    /// The 16-bit cells of its instance fields.
    pub declared_instance_size: u8,
    /// The token of its first field of a reference type; FF without one.
    pub first_reference_token: u8,
    /// The number of its fields of a reference type.
    pub reference_count: u8,
    /// The first token of the public table.
    pub public_base: u8,
    /// Public and protected virtual methods; `None` where a superclass of another package has the method.
    pub public_methods: Vec<Option<MethodLocation>>,
    /// The first token of the package table.
    pub package_base: u8,
    /// Package-visible virtual methods.
    pub package_methods: Vec<Option<MethodLocation>>,
    /// The interfaces it implements.
    pub interfaces: Vec<ImplementedInterface>,
    /// What makes it remote.
    pub remote: Option<RemoteInterfaceInfo>,
    /// The token mapping of format 2.3.
    pub token_mapping: Option<Vec<u8>>,
}

/// Interfaces and classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassComponent {
    /// The signature pool's length, since format 2.2.
    pub signature_pool_length: usize,
    /// The interfaces.
    pub interfaces: Vec<InterfaceInfo>,
    /// The classes.
    pub classes: Vec<ClassInfo>,
    /// Whether the layout is that of the format which the Header states.
    pub(crate) follows_format: bool,
    /// Whether every interface stands before every class.
    pub(crate) interfaces_first: bool,
    offsets: BTreeSet<usize>,
}

/// What the formats added to this component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layout {
    has_signature_pool: bool,
    has_token_mapping: bool,
    form: Form,
}

impl ClassComponent {
    /// Whether an interface or class begins at `offset`.
    pub fn begins_at(&self, offset: usize) -> bool {
        self.offsets.contains(&offset)
    }

    /// The class that begins at `offset`.
    pub fn class_at(&self, offset: usize) -> Option<&ClassInfo> {
        let index = self.classes.binary_search_by_key(&offset, |class| class.offset).ok()?;
        self.classes.get(index)
    }

    /// The interface that begins at `offset`.
    pub fn interface_at(&self, offset: usize) -> Option<&InterfaceInfo> {
        let index = self.interfaces.binary_search_by_key(&offset, |interface| interface.offset).ok()?;
        self.interfaces.get(index)
    }

    /// Reads the layout of the stated format. Some converters write the classes of one format under the
    /// version number of a neighbour, so that the others are tried before the file is refused.
    pub(crate) fn parse(component: &RawComponent, format: Format, form: Form) -> Result<Self, Fault> {
        let stated = Layout {
            has_signature_pool: format >= Format::V2_2,
            has_token_mapping: format >= Format::V2_3,
            form,
        };
        let error = match Self::parse_layout(component, stated) {
            Ok(parsed) => return Ok(parsed),
            Err(error) => error,
        };
        [(false, false), (true, false), (true, true)]
            .into_iter()
            .map(|(has_signature_pool, has_token_mapping)| Layout {
                has_signature_pool,
                has_token_mapping,
                form,
            })
            .filter(|layout| *layout != stated)
            .find_map(|layout| Self::parse_layout(component, layout).ok())
            .map(|parsed| Self { follows_format: false, ..parsed })
            .ok_or(error)
    }

    fn parse_layout(component: &RawComponent, layout: Layout) -> Result<Self, Fault> {
        let mut reader = Reader::new(ComponentTag::Class, component.info());
        let mut parsed = Self {
            signature_pool_length: 0,
            interfaces: Vec::new(),
            classes: Vec::new(),
            follows_format: true,
            interfaces_first: true,
            offsets: BTreeSet::new(),
        };
        if layout.has_signature_pool {
            parsed.signature_pool_length = parse_signature_pool(&mut reader)?;
        }
        while !reader.is_empty() {
            let offset = reader.offset();
            parsed.offsets.insert(offset);
            let bitfield = reader.u1("a class's flags")?;
            if bitfield & ACC_INTERFACE != 0 {
                parsed.interfaces_first &= parsed.classes.is_empty();
                parsed.interfaces.push(parse_interface(&mut reader, offset, bitfield)?);
            } else {
                parsed.classes.push(parse_class(&mut reader, offset, bitfield, layout)?);
            }
        }
        Ok(parsed)
    }
}

fn parse_signature_pool(reader: &mut Reader<'_>) -> Result<usize, Fault> {
    let length = usize::from(reader.u2("the signature pool's length")?);
    let start = reader.offset();
    let pool = reader.take(length, "the signature pool")?;
    let mut rest = pool;
    while let Some((count, after)) = rest.split_first() {
        let bytes = usize::from(*count).div_ceil(2);
        let Some(next) = after.get(bytes..) else {
            let offset = start + pool.len() - rest.len();
            return Err(reader.fault_at(offset, "a signature runs past the signature pool"));
        };
        rest = next;
    }
    Ok(length)
}

fn parse_interface(reader: &mut Reader<'_>, offset: usize, bitfield: u8) -> Result<InterfaceInfo, Fault> {
    if bitfield & 0x10 != 0 {
        return Err(reader.fault_at(offset, "an undefined flag (10) of an interface is set"));
    }
    let superinterfaces = parse_class_refs(reader, bitfield & 0x0F)?;
    let remote_name = match bitfield & ACC_REMOTE != 0 {
        true => Some(reader.counted("a remote interface's name")?.to_vec()),
        false => None,
    };
    Ok(InterfaceInfo { offset, is_shareable: bitfield & ACC_SHAREABLE != 0, superinterfaces, remote_name })
}

fn parse_class(
    reader: &mut Reader<'_>,
    offset: usize,
    bitfield: u8,
    layout: Layout,
) -> Result<ClassInfo, Fault> {
    if bitfield & 0x10 != 0 {
        return Err(reader.fault_at(offset, "an undefined flag (10) of a class is set"));
    }
    let superclass = match reader.u2("a superclass")? {
        0xFFFF => None,
        value => Some(ClassRef::from_u2(value)),
    };
    let declared_instance_size = reader.u1("an instance size")?;
    let first_reference_token = reader.u1("a first reference token")?;
    let reference_count = reader.u1("a reference count")?;
    let public_base = reader.u1("a public method table's base")?;
    let public_count = reader.u1("a public method table's count")?;
    let package_base = reader.u1("a package method table's base")?;
    let package_count = reader.u1("a package method table's count")?;
    let public_methods = parse_method_table(reader, public_count, layout.form)?;
    let package_methods = parse_method_table(reader, package_count, layout.form)?;
    let interfaces =
        (0..bitfield & 0x0F).map(|_| parse_implemented(reader)).collect::<Result<Vec<_>, Fault>>()?;
    let remote = match bitfield & ACC_REMOTE != 0 {
        true => Some(parse_remote(reader)?),
        false => None,
    };
    let token_mapping = match layout.has_token_mapping {
        true => Some(parse_token_mapping(reader, public_base, public_count)?),
        false => None,
    };
    Ok(ClassInfo {
        offset,
        is_shareable: bitfield & ACC_SHAREABLE != 0,
        superclass,
        declared_instance_size,
        first_reference_token,
        reference_count,
        public_base,
        public_methods,
        package_base,
        package_methods,
        interfaces,
        remote,
        token_mapping,
    })
}

fn parse_class_refs(reader: &mut Reader<'_>, count: u8) -> Result<Vec<ClassRef>, Fault> {
    (0..count).map(|_| Ok(ClassRef::from_u2(reader.u2("a class reference")?))).collect()
}

fn parse_method_table(
    reader: &mut Reader<'_>,
    count: u8,
    form: Form,
) -> Result<Vec<Option<MethodLocation>>, Fault> {
    (0..count)
        .map(|_| {
            let location = MethodLocation::parse(reader, form, "a virtual method table")?;
            Ok((location.offset != NO_METHOD).then_some(location))
        })
        .collect()
}

fn parse_implemented(reader: &mut Reader<'_>) -> Result<ImplementedInterface, Fault> {
    let interface = ClassRef::from_u2(reader.u2("an implemented interface")?);
    let tokens = reader.counted("an implemented interface's tokens")?.to_vec();
    Ok(ImplementedInterface { interface, tokens })
}

fn parse_remote(reader: &mut Reader<'_>) -> Result<RemoteInterfaceInfo, Fault> {
    let count = reader.u1("the remote method count")?;
    let mut methods = Vec::new();
    for _ in 0..count {
        methods.push(RemoteMethod {
            hash: reader.u2("a remote method's hash")?,
            signature_offset: reader.u2("a remote method's signature")?,
            token: reader.u1("a remote method's token")?,
        });
    }
    let hash_modifier = reader.counted("the hash modifier")?.to_vec();
    let class_name = reader.counted("the remote class's name")?.to_vec();
    let count = reader.u1("the remote interface count")?;
    Ok(RemoteInterfaceInfo {
        methods,
        hash_modifier,
        class_name,
        interfaces: parse_class_refs(reader, count)?,
    })
}

/// JCVM 3.1, 6.9.2.7: a byte for each public and protected token, inherited ones too, and a count.
fn parse_token_mapping(reader: &mut Reader<'_>, base: u8, count: u8) -> Result<Vec<u8>, Fault> {
    let tokens = usize::from(base) + usize::from(count);
    let mapping = reader.take(tokens, "a token mapping")?.to_vec();
    reader.u1("the count of inheritable tokens")?;
    Ok(mapping)
}
