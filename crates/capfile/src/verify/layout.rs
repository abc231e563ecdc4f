//! Header, Directory, Import and Applet against the components that are there (JCVM 3.1, 6.4 to 6.7).

use std::collections::BTreeSet;

use super::Remark;
use crate::components::HeaderFlags;
use crate::{CapFile, ComponentTag, Fault, Form, Format};

/// Where the flags stand in the Header's info item.
const FLAGS_OFFSET: usize = 6;

pub(super) fn check(cap: &CapFile, remarks: &mut Vec<Remark>) -> Result<(), Fault> {
    check_flags(cap)?;
    check_sizes(cap, remarks)?;
    check_counts(cap, remarks)?;
    check_imports(cap, remarks)?;
    check_applets(cap, remarks)?;
    remark_presence(cap, remarks);
    Ok(())
}

fn check_flags(cap: &CapFile) -> Result<(), Fault> {
    let flags = cap.header.flags;
    let refuse = |reason: &'static str| Err(Fault::new(ComponentTag::Header, FLAGS_OFFSET, reason));
    match (flags.has(HeaderFlags::APPLET), cap.applet.is_some()) {
        (true, false) => return refuse("ACC_APPLET is set, and there is no Applet component"),
        (false, true) => return refuse("ACC_APPLET is not set, and there is an Applet component"),
        (true, true) | (false, false) => {}
    }
    match (flags.has(HeaderFlags::EXPORT), cap.export.is_some()) {
        (true, false) => refuse("ACC_EXPORT is set, and there is no Export component"),
        (false, true) => refuse("ACC_EXPORT is not set, and there is an Export component"),
        (true, true) | (false, false) => Ok(()),
    }
}

/// Each size in the Directory against the component. Tools that strip Descriptor or Debug leave its size in
/// the Directory, which no card minds.
fn check_sizes(cap: &CapFile, remarks: &mut Vec<Remark>) -> Result<(), Fault> {
    let form = cap.form();
    for number in 1..=13 {
        let tag = ComponentTag::from_number(number);
        let Some(stated) = cap.directory.size(tag) else { continue };
        let found = cap.raw.iter().find(|component| component.tag() == tag);
        let size = found.map_or(0, |component| component.info().len());
        if u32::try_from(size) == Ok(stated) {
            continue;
        }
        let reason = match found {
            None => format!("the {tag} component is said to have {stated} bytes, and is missing"),
            Some(_) => format!("the {tag} component is said to have {stated} bytes, and has {size}"),
        };
        let fault = Fault::new(ComponentTag::Directory, cap.directory.size_offset(tag, form), reason);
        match (tag, found) {
            (ComponentTag::Descriptor | ComponentTag::Debug, None) => remarks.push(Remark(fault)),
            _ => return Err(fault),
        }
    }
    Ok(())
}

fn check_counts(cap: &CapFile, remarks: &mut Vec<Remark>) -> Result<(), Fault> {
    let directory = &cap.directory;
    let offset =
        directory.size_offset(ComponentTag::from_number(directory.sizes.len() as u8 + 1), cap.form());
    let pairs = [
        (
            "static field image bytes",
            0,
            usize::from(directory.image_size),
            usize::from(cap.static_field.image_size),
        ),
        ("initialised arrays", 2, usize::from(directory.array_init_count), cap.static_field.array_init.len()),
        (
            "bytes of initialised arrays",
            4,
            usize::from(directory.array_init_size),
            cap.static_field.array_init_size(),
        ),
        ("imported packages", 6, usize::from(directory.import_count), cap.imports().len()),
        ("applets", 7, usize::from(directory.applet_count), cap.applets().len()),
    ];
    for (what, shift, stated, found) in pairs {
        if stated != found {
            let reason = format!("{stated} {what} are announced, and there are {found}");
            return Err(Fault::new(ComponentTag::Directory, offset + shift, reason));
        }
    }
    if let Some(stated) = directory.method_block_count
        && usize::from(stated) != cap.method.blocks.len()
    {
        let reason =
            format!("{stated} method blocks are announced, and there are {}", cap.method.blocks.len());
        return Err(Fault::new(ComponentTag::Directory, offset + 8, reason));
    }
    check_custom(cap, offset, remarks)
}

fn check_custom(cap: &CapFile, offset: usize, remarks: &mut Vec<Remark>) -> Result<(), Fault> {
    for announced in &cap.directory.custom {
        let tag = announced.tag;
        match cap.raw.iter().find(|component| component.tag() == tag) {
            None => {
                let reason = format!("the {tag} component is announced, and is missing");
                remarks.push(Remark(Fault::new(ComponentTag::Directory, offset, reason)));
            }
            Some(found) if u32::try_from(found.info().len()) != Ok(announced.size) => {
                let (size, stated) = (found.info().len(), announced.size);
                let reason = format!("the {tag} component is said to have {stated} bytes, and has {size}");
                return Err(Fault::new(ComponentTag::Directory, offset, reason));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn check_imports(cap: &CapFile, remarks: &mut Vec<Remark>) -> Result<(), Fault> {
    let mut known = BTreeSet::new();
    for (package, offset) in cap.imports().iter().zip(&cap.import.offsets) {
        if !known.insert(package.aid) {
            let reason = format!("the package {} is imported twice", package.aid);
            return Err(Fault::new(ComponentTag::Import, *offset, reason));
        }
        if cap.header.packages.iter().any(|own| own.aid == package.aid) {
            let reason = format!("the package imports itself ({})", package.aid);
            return Err(Fault::new(ComponentTag::Import, *offset, reason));
        }
    }
    if cap.imports().is_empty() {
        let reason = "no package is imported, which only java.lang can do";
        remarks.push(Remark(Fault::new(ComponentTag::Import, 0, reason)));
    }
    Ok(())
}

/// JCVM 4.2 wants one RID for a package and its applets; cards do not look.
fn check_applets(cap: &CapFile, remarks: &mut Vec<Remark>) -> Result<(), Fault> {
    let Some(component) = &cap.applet else { return Ok(()) };
    if component.applets.is_empty() {
        return Err(Fault::new(ComponentTag::Applet, 0, "the component lists no applet"));
    }
    let mut known = BTreeSet::new();
    for (applet, offset) in component.applets.iter().zip(&component.offsets) {
        if !known.insert(applet.aid) {
            let reason = format!("the applet {} stands twice", applet.aid);
            return Err(Fault::new(ComponentTag::Applet, *offset, reason));
        }
        if applet.aid.rid() != cap.package_aid().rid() {
            let reason =
                format!("the RID of applet {} is not that of its package {}", applet.aid, cap.package_aid());
            remarks.push(Remark(Fault::new(ComponentTag::Applet, *offset, reason)));
        }
    }
    Ok(())
}

fn remark_presence(cap: &CapFile, remarks: &mut Vec<Remark>) {
    let mut remark = |tag, reason: &'static str| remarks.push(Remark(Fault::new(tag, 0, reason)));
    if cap.descriptor.is_none() {
        remark(ComponentTag::Descriptor, "there is no Descriptor, so that only reachable code was checked");
    }
    if !cap.is_in_javacard_folder {
        remark(ComponentTag::Header, "the components do not stand in a folder named javacard");
    }
    if !cap.class.follows_format {
        remark(
            ComponentTag::Class,
            "the classes are laid out as in another file format than the Header states",
        );
    }
    if !cap.class.interfaces_first {
        remark(ComponentTag::Class, "an interface stands after a class");
    }
    if cap.header.flags.0 & !0x0F != 0 {
        remark(ComponentTag::Header, "undefined flags are set");
    }
    if cap.header.format == Format::V2_1 && !cap.header.package_names.is_empty() {
        remark(ComponentTag::Header, "a file of format 2.1 has a package name, which came with 2.2");
    }
    if cap.static_resources.is_some() && cap.form() == Form::Compact && cap.format() < Format::V2_3 {
        remark(ComponentTag::StaticResources, "static resources came with format 2.3");
    }
}
