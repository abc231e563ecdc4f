//! Descriptor against the components that it describes (JCVM 3.1, 6.14).

use std::collections::BTreeSet;

use super::Remark;
use crate::components::{
    ClassDescriptor, ClassRef, Constant, DescriptorComponent, FieldDescriptor, FieldRef, MethodDescriptor,
    StaticRef,
};
use crate::{CapFile, ComponentTag, Fault};

const ACC_STATIC: u8 = 0x08;
const NO_TYPE: u16 = 0xFFFF;

// Nibbles of type descriptors (JCVM 3.1, table 6-14).
const VOID: u8 = 1;
const INT: u8 = 5;
const REFERENCE: u8 = 6;
const REFERENCE_ARRAY: u8 = 0xE;

pub(super) fn check(cap: &CapFile, remarks: &mut Vec<Remark>) -> Result<(), Fault> {
    let Some(descriptor) = &cap.descriptor else { return Ok(()) };
    if descriptor.packages.len() != cap.header.packages.len() {
        let (described, there) = (descriptor.packages.len(), cap.header.packages.len());
        let reason = format!("{described} packages are described, and there are {there}");
        // An extended file may describe packages that it keeps private.
        if described < there {
            return Err(fault(0, reason));
        }
        remarks.push(Remark(fault(0, reason)));
    }
    check_constant_types(cap, descriptor, remarks)?;
    let mut described = BTreeSet::new();
    for class in descriptor.classes() {
        check_class(cap, descriptor, class, remarks)?;
        if !described.insert(class.this_class_offset()) {
            return Err(fault(class.offset, "the class is described twice"));
        }
    }
    let there = cap.class.classes.len() + cap.class.interfaces.len();
    if described.len() < there {
        let reason = format!("{} of {there} classes are not described", there - described.len());
        remarks.push(Remark(fault(0, reason)));
    }
    Ok(())
}

impl ClassDescriptor {
    const fn this_class_offset(&self) -> Option<u16> {
        match self.this_class {
            ClassRef::Internal(offset) => Some(offset),
            ClassRef::External { .. } => None,
        }
    }
}

fn check_constant_types(
    cap: &CapFile,
    descriptor: &DescriptorComponent,
    remarks: &mut Vec<Remark>,
) -> Result<(), Fault> {
    let types = &descriptor.types;
    let constants = &cap.constant_pool.constants;
    if types.constant_types.len() != constants.len() {
        let reason = format!(
            "{} constants have types, and the pool has {}",
            types.constant_types.len(),
            constants.len()
        );
        return Err(fault(types.start, reason));
    }
    for (index, (constant, type_offset)) in constants.iter().zip(&types.constant_types).enumerate() {
        let offset = types.start + 2 + 2 * index;
        if matches!(constant, Constant::Class(_)) {
            if *type_offset != NO_TYPE {
                remarks.push(Remark(fault(offset, "a class has a type, and needs none")));
            }
            continue;
        }
        let is_field = matches!(constant, Constant::InstanceField { .. } | Constant::StaticField(_));
        if is_field && *type_offset != NO_TYPE && type_offset & 0x8000 != 0 {
            continue;
        }
        let Some(nibbles) = types.nibbles(*type_offset) else {
            return Err(fault(offset, format!("no type begins at offset {type_offset}")));
        };
        let is_sound = if is_field { is_field_type(&nibbles) } else { signature_words(&nibbles).is_some() };
        if !is_sound {
            return Err(fault(offset, format!("the type of constant {index} is malformed")));
        }
    }
    Ok(())
}

fn check_class(
    cap: &CapFile,
    descriptor: &DescriptorComponent,
    class: &ClassDescriptor,
    remarks: &mut Vec<Remark>,
) -> Result<(), Fault> {
    let Some(offset) = class.this_class_offset() else {
        return Err(fault(class.offset, "another package's class is described"));
    };
    let is_there = match class.is_interface() {
        true => cap.class.interface_at(usize::from(offset)).is_some(),
        false => cap.class.class_at(usize::from(offset)).is_some(),
    };
    if !is_there {
        let kind = if class.is_interface() { "interface" } else { "class" };
        return Err(fault(
            class.offset,
            format!("no {kind} begins at offset {offset} of the Class component"),
        ));
    }
    for field in &class.fields {
        check_field(cap, descriptor, field)?;
    }
    for method in &class.methods {
        check_method(cap, descriptor, class, method, remarks)?;
    }
    Ok(())
}

fn check_field(
    cap: &CapFile,
    descriptor: &DescriptorComponent,
    field: &FieldDescriptor,
) -> Result<(), Fault> {
    if let FieldRef::Static(StaticRef::Internal(offset)) = field.field
        && offset >= cap.static_field.image_size
    {
        let size = cap.static_field.image_size;
        return Err(fault(field.offset, format!("a static field at {offset} of an image of {size} bytes")));
    }
    match field.field_type {
        0x8002..=0x8005 => Ok(()),
        other if other & 0x8000 != 0 => {
            Err(fault(field.offset, format!("{other:04X} is no primitive type (8002 to 8005)")))
        }
        offset => match descriptor.types.nibbles(offset) {
            Some(nibbles) if is_field_type(&nibbles) => Ok(()),
            Some(_) => Err(fault(field.offset, "the field's type is malformed")),
            None => Err(fault(field.offset, format!("no type begins at offset {offset}"))),
        },
    }
}

fn check_method(
    cap: &CapFile,
    descriptor: &DescriptorComponent,
    class: &ClassDescriptor,
    method: &MethodDescriptor,
    remarks: &mut Vec<Remark>,
) -> Result<(), Fault> {
    let Some(nibbles) = descriptor.types.nibbles(method.type_offset) else {
        return Err(fault(method.offset, format!("no type begins at offset {}", method.type_offset)));
    };
    let Some(words) = signature_words(&nibbles) else {
        return Err(fault(method.offset, "the method's signature is malformed"));
    };
    if class.is_interface() {
        return Ok(());
    }
    let Some(block) = cap.method.block(method.location) else {
        return Err(fault(method.offset, "the method lies past the end of the code"));
    };
    let handlers = usize::from(method.handler_index) + usize::from(method.handler_count);
    if method.handler_count > 0 && handlers > block.handlers.len() {
        let reason = format!("exception handlers up to {handlers} of {}", block.handlers.len());
        return Err(fault(method.offset, reason));
    }
    let this = usize::from(method.access_flags & ACC_STATIC == 0);
    let header = block
        .method_header(usize::from(method.location.offset))
        .map_err(|reason| fault(method.offset, reason))?;
    if usize::from(header.nargs) != words + this {
        let reason = format!("the signature takes {} words, and the method {}", words + this, header.nargs);
        remarks.push(Remark(fault(method.offset, reason)));
    }
    Ok(())
}

/// A single type that is not void.
fn is_field_type(nibbles: &[u8]) -> bool {
    read_type(nibbles).is_some_and(|(kind, rest)| kind != VOID && rest.is_empty())
}

/// The words of a signature's parameters; `None` when it is malformed. The result comes last.
pub(super) fn signature_words(nibbles: &[u8]) -> Option<usize> {
    let (_, parameters) = split_signature(nibbles)?;
    Some(parameters)
}

/// The words of a signature's result.
pub(super) fn signature_result_words(nibbles: &[u8]) -> Option<usize> {
    let (result, _) = split_signature(nibbles)?;
    Some(if result == VOID { 0 } else { words(result) })
}

/// The result's type and the words of the parameters.
fn split_signature(nibbles: &[u8]) -> Option<(u8, usize)> {
    let mut parameters = 0;
    let (mut kind, mut rest) = read_type(nibbles)?;
    while !rest.is_empty() {
        if kind == VOID {
            return None;
        }
        parameters += words(kind);
        (kind, rest) = read_type(rest)?;
    }
    Some((kind, parameters))
}

const fn words(kind: u8) -> usize {
    if kind == INT { 2 } else { 1 }
}

/// One type and what follows it: a reference is followed by the four nibbles of a class reference.
fn read_type(nibbles: &[u8]) -> Option<(u8, &[u8])> {
    let (kind, rest) = nibbles.split_first()?;
    match *kind {
        REFERENCE | REFERENCE_ARRAY => Some((*kind, rest.get(4..)?)),
        1..=5 | 0xA..=0xD => Some((*kind, rest)),
        _ => None,
    }
}

fn fault(offset: usize, reason: impl Into<std::borrow::Cow<'static, str>>) -> Fault {
    Fault::new(ComponentTag::Descriptor, offset, reason)
}
