//! What refers to classes and methods: Applet, ConstantPool, Class and Export (JCVM 3.1, 6.6, 6.8, 6.9, 6.13).

use std::collections::BTreeSet;

use super::Remark;
use super::code::Code;
use crate::components::{
    ClassInfo, ClassRef, Constant, ConstantPoolComponent, ImplementedInterface, MethodLocation, StaticRef,
};
use crate::{CapFile, ComponentTag, Fault};

/// Virtual method tokens have seven bits; the eighth marks package visibility.
const TOKENS: usize = 128;

/// A method that a component refers to, for the sentence of a fault.
#[derive(Debug)]
struct MethodUse {
    location: MethodLocation,
    component: ComponentTag,
    offset: usize,
}

/// Every method that a component beside the Descriptor refers to.
pub(super) fn referred_methods(cap: &CapFile) -> BTreeSet<MethodLocation> {
    uses(cap).into_iter().map(|used| used.location).collect()
}

pub(super) fn check(cap: &CapFile, code: &Code, remarks: &mut Vec<Remark>) -> Result<(), Fault> {
    for used in uses(cap) {
        if !code.has_method(used.location) {
            let MethodLocation { block, offset } = used.location;
            let reason = format!("no method begins at offset {offset} of method block {block}");
            return Err(Fault::new(used.component, used.offset, reason));
        }
    }
    for (index, constant) in cap.constant_pool.constants.iter().enumerate() {
        check_constant(cap, constant).map_err(|reason| {
            Fault::new(ComponentTag::ConstantPool, ConstantPoolComponent::offset_of(index), reason)
        })?;
    }
    for interface in &cap.class.interfaces {
        let here = |reason| Fault::new(ComponentTag::Class, interface.offset, reason);
        for super_interface in &interface.superinterfaces {
            check_interface_ref(cap, *super_interface).map_err(here)?;
            if matches!(super_interface, ClassRef::Internal(offset) if usize::from(*offset) == interface.offset)
            {
                return Err(here("an interface extends itself".to_owned()));
            }
        }
    }
    for class in &cap.class.classes {
        check_class(cap, class, remarks)
            .map_err(|reason| Fault::new(ComponentTag::Class, class.offset, reason))?;
    }
    check_exports(cap, remarks)
}

fn uses(cap: &CapFile) -> Vec<MethodUse> {
    let mut uses = Vec::new();
    let mut add = |location, component, offset| uses.push(MethodUse { location, component, offset });
    if let Some(applet) = &cap.applet {
        for (entry, offset) in applet.applets.iter().zip(&applet.offsets) {
            add(entry.install, ComponentTag::Applet, *offset);
        }
    }
    for class in &cap.class.classes {
        for location in class.public_methods.iter().chain(&class.package_methods).flatten() {
            add(*location, ComponentTag::Class, class.offset);
        }
    }
    for (index, constant) in cap.constant_pool.constants.iter().enumerate() {
        if let Constant::StaticMethod(StaticRef::Internal(location)) = constant {
            add(*location, ComponentTag::ConstantPool, ConstantPoolComponent::offset_of(index));
        }
    }
    for export in cap.export.iter().flat_map(|export| export.packages.iter().flatten()) {
        for location in &export.static_methods {
            add(*location, ComponentTag::Export, export.offset);
        }
    }
    uses
}

fn check_constant(cap: &CapFile, constant: &Constant) -> Result<(), String> {
    match constant {
        Constant::Class(class) => check_class_ref(cap, *class),
        Constant::InstanceField { class, token } => {
            let Some(owner) = owner(cap, *class)? else { return Ok(()) };
            // A class's own fields have tokens from 0; an int takes two.
            match usize::from(*token) < usize::from(owner.declared_instance_size) {
                true => Ok(()),
                false => Err(format!("field {token} of a class of {} cells", owner.declared_instance_size)),
            }
        }
        Constant::VirtualMethod { class, token } | Constant::SuperMethod { class, token } => {
            check_virtual(cap, *class, *token)
        }
        Constant::StaticField(StaticRef::Internal(offset)) => check_static_field(cap, *offset),
        Constant::StaticField(StaticRef::External { package, .. })
        | Constant::StaticMethod(StaticRef::External { package, .. }) => check_package(cap, *package),
        Constant::StaticMethod(StaticRef::Internal(_)) => Ok(()),
    }
}

/// The class of a member that is defined here; `None` for another package's.
fn owner(cap: &CapFile, class: ClassRef) -> Result<Option<&ClassInfo>, String> {
    match class {
        ClassRef::Internal(offset) => cap
            .class
            .class_at(usize::from(offset))
            .map(Some)
            .ok_or_else(|| format!("no class begins at offset {offset} of the Class component")),
        ClassRef::External { package, .. } => check_package(cap, package).map(|()| None),
    }
}

fn check_virtual(cap: &CapFile, class: ClassRef, token: u8) -> Result<(), String> {
    let is_package_visible = token & 0x80 != 0;
    let Some(owner) = owner(cap, class)? else {
        return match is_package_visible {
            true => Err("a package-visible method of another package cannot be referred to".to_owned()),
            false => Ok(()),
        };
    };
    let (base, methods) = match is_package_visible {
        true => (owner.package_base, &owner.package_methods),
        false => (owner.public_base, &owner.public_methods),
    };
    let end = usize::from(base) + methods.len();
    match usize::from(token & 0x7F) < end {
        true => Ok(()),
        false => Err(format!("virtual method {} of a class that has {end}", token & 0x7F)),
    }
}

fn check_package(cap: &CapFile, package: u8) -> Result<(), String> {
    let count = cap.imports().len();
    match usize::from(package) < count {
        true => Ok(()),
        false => Err(format!("package token {package}, and {count} packages are imported")),
    }
}

fn check_class_ref(cap: &CapFile, class: ClassRef) -> Result<(), String> {
    match class {
        ClassRef::Internal(offset) if cap.class.begins_at(usize::from(offset)) => Ok(()),
        ClassRef::Internal(offset) => {
            Err(format!("no class or interface begins at offset {offset} of the Class component"))
        }
        ClassRef::External { package, .. } => check_package(cap, package),
    }
}

fn check_interface_ref(cap: &CapFile, class: ClassRef) -> Result<(), String> {
    match class {
        ClassRef::Internal(offset) if cap.class.interface_at(usize::from(offset)).is_none() => {
            Err(format!("no interface begins at offset {offset} of the Class component"))
        }
        ClassRef::Internal(_) => Ok(()),
        ClassRef::External { package, .. } => check_package(cap, package),
    }
}

fn check_static_field(cap: &CapFile, offset: u16) -> Result<(), String> {
    let size = cap.static_field.image_size;
    match offset < size {
        true => Ok(()),
        false => Err(format!("static field at {offset} of an image of {size} bytes")),
    }
}

fn check_class(cap: &CapFile, class: &ClassInfo, remarks: &mut Vec<Remark>) -> Result<(), String> {
    match class.superclass {
        // A superclass stands before its subclasses, which also rules out circles.
        Some(ClassRef::Internal(offset)) => {
            owner(cap, ClassRef::Internal(offset))?;
            if usize::from(offset) >= class.offset {
                return Err("the superclass stands after the class".to_owned());
            }
        }
        Some(external) => check_class_ref(cap, external)?,
        None => {}
    }
    let public = usize::from(class.public_base) + class.public_methods.len();
    let package = usize::from(class.package_base) + class.package_methods.len();
    if public > TOKENS || package > TOKENS {
        return Err(format!(
            "a method table reaches token {}, and tokens end at 127",
            public.max(package) - 1
        ));
    }
    let references = usize::from(class.first_reference_token) + usize::from(class.reference_count);
    if class.reference_count > 0 && references > usize::from(class.declared_instance_size) {
        return Err("the fields of reference types reach past the instance".to_owned());
    }
    for interface in &class.interfaces {
        check_implemented(cap, class, interface, public, remarks)?;
    }
    let remote = class.remote.iter().flat_map(|remote| &remote.methods);
    let pool = 2..2 + cap.class.signature_pool_length;
    match remote.into_iter().all(|method| pool.contains(&usize::from(method.signature_offset))) {
        true => Ok(()),
        false => Err("a remote method's signature lies outside the signature pool".to_owned()),
    }
}

/// Abstract classes need not have every method, and converters fill such places as they like.
fn check_implemented(
    cap: &CapFile,
    class: &ClassInfo,
    interface: &ImplementedInterface,
    public: usize,
    remarks: &mut Vec<Remark>,
) -> Result<(), String> {
    check_interface_ref(cap, interface.interface)?;
    if let Some(token) = interface.tokens.iter().find(|token| usize::from(**token) >= public) {
        let reason =
            format!("an interface method leads to virtual method {token} of a class that has {public}");
        remarks.push(Remark(Fault::new(ComponentTag::Class, class.offset, reason)));
    }
    Ok(())
}

fn check_exports(cap: &CapFile, remarks: &mut Vec<Remark>) -> Result<(), Fault> {
    let Some(component) = &cap.export else { return Ok(()) };
    if component.packages.len() > cap.header.packages.len() {
        let reason = format!(
            "{} packages export, and there are {}",
            component.packages.len(),
            cap.header.packages.len()
        );
        return Err(Fault::new(ComponentTag::Export, 0, reason));
    }
    if component.packages.iter().all(Vec::is_empty) {
        remarks.push(Remark(Fault::new(ComponentTag::Export, 0, "the component exports nothing")));
    }
    for export in component.packages.iter().flatten() {
        let here = |reason: String| Fault::new(ComponentTag::Export, export.offset, reason);
        check_class_ref(cap, ClassRef::Internal(export.class_offset)).map_err(here)?;
        let interface = cap.class.interface_at(usize::from(export.class_offset));
        if interface.is_some() && !export.static_methods.is_empty() {
            return Err(here("an interface exports static methods".to_owned()));
        }
        for offset in &export.static_fields {
            check_static_field(cap, *offset).map_err(here)?;
        }
        // JCVM 3.1, 6.13: a package with applets exports shareable interfaces only.
        if cap.applet.is_some() && !interface.is_some_and(|interface| interface.is_shareable) {
            let reason = "a package with applets exports what is no shareable interface";
            remarks.push(Remark(Fault::new(ComponentTag::Export, export.offset, reason)));
        }
    }
    Ok(())
}
