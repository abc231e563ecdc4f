//! The structural verifier: components against one another.
//!
//! A file that the specification clearly forbids is refused with a sentence that says which component,
//! which offset and why. What converters in the field are known to vary is a remark. References into other
//! packages are not followed: that needs their export files, and the card does it when it links.

mod code;
mod descriptor;
mod layout;
mod links;
mod locations;
mod stack;

use crate::{CapFile, Fault};

/// Why a CAP file must not be loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the CAP file is malformed: {0}")]
pub struct Refused(#[from] pub Fault);

/// An oddity that does not keep the file from being loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark(pub Fault);

impl core::fmt::Display for Remark {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

/// Checks a CAP file's structure. The remarks are in the order of the checks.
pub fn verify(cap: &CapFile) -> Result<Vec<Remark>, Refused> {
    let mut remarks = Vec::new();
    layout::check(cap, &mut remarks)?;
    let code = code::check(cap, &links::referred_methods(cap), &mut remarks)?;
    links::check(cap, &code, &mut remarks)?;
    locations::check(cap, &code, &mut remarks)?;
    descriptor::check(cap, &mut remarks)?;
    stack::check(cap, &mut remarks)?;
    Ok(remarks)
}

#[cfg(test)]
mod tests {
    use tsm_iso7816::Aid;

    use super::*;
    use crate::{CapBuilder, ComponentTag, Descriptor, Form, Format, RawComponent};

    const PACKAGE: Aid = Aid::constant(&[0xF0, 0x4F, 0x54, 0x53, 0x4D, 1, 5]);

    fn builder() -> CapBuilder {
        let module = |number| Aid::new(&[0xF0, 0x4F, 0x54, 0x53, 0x4D, 1, 5, 1, number]).unwrap();
        CapBuilder::new(PACKAGE).applet(module(1)).applet(module(2)).padding(40)
    }

    fn read(components: Vec<RawComponent>) -> Result<Vec<Remark>, String> {
        let cap = CapFile::from_components(components).map_err(|error| error.to_string())?;
        verify(&cap).map_err(|refused| refused.0.to_string())
    }

    /// Changes one component's info item and verifies; the Directory is left to what it said.
    fn changed(
        builder: &CapBuilder,
        tag: ComponentTag,
        change: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Vec<Remark>, String> {
        let form = if builder.build_cap().unwrap().form() == Form::Extended {
            Form::Extended
        } else {
            Form::Compact
        };
        let mut components = builder.components().unwrap();
        let component = components.iter_mut().find(|component| component.tag() == tag).unwrap();
        let mut info = component.info().to_vec();
        change(&mut info);
        *component = RawComponent::frame(tag, form, &info).unwrap();
        read(components)
    }

    /// Each malformation is refused with the component, and with words that say what is wrong.
    #[test]
    fn malformed_files_are_refused_and_the_sentence_says_where() {
        use ComponentTag::{
            Applet, Class, ConstantPool, Descriptor, Directory, Export, Header, Import, Method,
            ReferenceLocation, StaticField,
        };
        let with = builder();
        let without = builder().descriptor(crate::Descriptor::Omit);
        let library = CapBuilder::new(PACKAGE);
        type Change = fn(&mut Vec<u8>);
        let cases: [(&CapBuilder, ComponentTag, Change, &str); 44] = [
            (&with, Header, |info| info[0] = 0, "offset 0: the magic number"),
            (&with, Header, |info| info[4] = 9, "file format 2.9"),
            (&with, Header, |info| info[6] = 0, "ACC_APPLET is not set"),
            (&with, Header, |info| info[6] |= 2, "ACC_EXPORT is set"),
            (&with, Header, |info| info[6] |= 8, "came with 2.3"),
            (&with, Header, |info| info[9] = 4, "is not an AID"),
            (&with, Directory, |info| info[1] += 1, "offset 0: the Header component is said"),
            (&with, Directory, |info| info[13] += 1, "offset 12: the Method component is said"),
            (&with, Directory, |info| info[23] = 1, "static field image"),
            (&with, Directory, |info| info[28] = 3, "3 imported packages are announced"),
            (&with, Directory, |info| info[29] = 3, "3 applets are announced"),
            (&with, Directory, |info| info[30] = 1, "custom component"),
            (&with, Import, |info| info.copy_within(4..11, 14), "imported twice"),
            (&with, Import, |info| info[0] = 200, "128 have tokens"),
            (&with, Applet, |info| info[10] = 2, "stands twice"),
            (&with, Applet, |info| info[12] += 1, "the Applet component, at offset 1: no method begins"),
            (&without, Applet, |info| info[12] = 0, "begins within the handlers or another method"),
            (&with, ConstantPool, |info| info[1] += 1, "constants need"),
            (&with, ConstantPool, |info| info[2] = 7, "is not the tag of a constant"),
            (&with, ConstantPool, |info| info[3] = 0x85, "package token 5"),
            (&with, ConstantPool, |info| info[9] = 0x81, "package-visible method of another package"),
            (&with, ConstantPool, |info| info[20] = 1, "no class or interface begins at offset 1"),
            (&with, ConstantPool, |info| info[25] += 1, "no method begins"),
            (&with, ConstantPool, |info| info[6] = 5, "must be a virtual method"),
            (&with, Class, |info| info[11] += 1, "the Class component, at offset 0: no method begins"),
            (&with, Class, |info| info[0] = 0x10, "undefined flag"),
            (&with, Class, |info| info[1] = 0x82, "package token 2"),
            (&with, Class, |info| info[6] = 0x80, "tokens end at 127"),
            (&with, Class, |info| (info[1], info[2]) = (0, 12), "the superclass stands after the class"),
            (&with, Method, |info| info[3] = 0xB9, "opcode B9 does not exist"),
            (&with, Method, |info| info[3] = 0xFE, "reserved for implementations"),
            (&with, Method, |info| info[3] = 0x1B, "local variable word 3"),
            (&with, Method, |info| info[6] = 0x60, "no constant"),
            (&with, Method, |info| info[7] = 0, "past the end of the method"),
            (&with, Method, |info| info[1] |= 0x10, "undefined flag of a method header"),
            (&with, Method, |info| info[1] |= 0x40, "an abstract method has code"),
            (&without, Method, |info| info[7] = 0, "the method"),
            (&with, StaticField, |info| info[1] = 1, "the image size is 1"),
            (&with, ReferenceLocation, |info| info[4] += 1, "is not listed"),
            (&with, ReferenceLocation, |info| info[1] = 200, "the locations needs"),
            (&library, Export, |info| info[2] = 1, "no class or interface begins"),
            (&library, Export, |info| info[6] += 1, "no method begins"),
            (&with, Descriptor, |info| info[4] = 1, "no class begins at offset 1"),
            (&with, Descriptor, |info| info[17] += 1, "no constant"),
        ];
        for (number, (builder, tag, change, words)) in cases.into_iter().enumerate() {
            let found = changed(builder, tag, change);
            let Err(sentence) = found else { panic!("case {number} ({words}) passed: {found:?}") };
            // Two cases break more than one rule; that they are refused is what counts.
            assert!(sentence.contains(words) || words == "no constant", "case {number}: {sentence}");
        }
    }

    #[test]
    fn a_branch_must_lead_to_an_instruction() {
        // process: aload_0, invokevirtual, ifeq +3, return, sspush, invokestatic, return.
        let code = builder().build_cap().unwrap();
        let process = code.class.classes[0].public_methods[0].unwrap();
        let branch = usize::from(process.offset) + 2 + 4;
        // Without a Descriptor only what is reached is read: a branch over the opcode at 3 leaves it unreached.
        let cases = [
            (3, true, true),
            (2, true, true),
            (4, false, true),
            (0, true, true),
            (0x70, false, false),
            (0xFC, true, true),
            (0xFB, false, false),
        ];
        for (distance, described, followed) in cases {
            for (descriptor, passes) in [(Descriptor::Include, described), (Descriptor::Omit, followed)] {
                let result = changed(&builder().descriptor(descriptor), ComponentTag::Method, |info| {
                    assert_eq!(info[branch], 0x60);
                    info[branch + 1] = distance;
                });
                assert_eq!(result.is_ok(), passes, "{distance:02X} {descriptor:?}: {result:?}");
            }
        }
    }

    /// A handler over the constructor's code, to be moved about.
    fn with_handler(handler: [u8; 8]) -> Result<Vec<Remark>, String> {
        let builder = CapBuilder::new(PACKAGE).descriptor(Descriptor::Omit);
        let mut components = builder.components().unwrap();
        for component in &mut components {
            let mut info = component.info().to_vec();
            match component.tag() {
                ComponentTag::Method => {
                    info[0] = 1;
                    info.splice(1..1, handler);
                }
                ComponentTag::Directory => info[13] += 8,
                // The constructor moves behind the handler table, and so does its constant-pool index.
                ComponentTag::Export => info[6] += 8,
                ComponentTag::ReferenceLocation => info[4] += 8,
                _ => {}
            }
            *component = RawComponent::frame(component.tag(), Form::Compact, &info).unwrap();
        }
        read(components)
    }

    #[test]
    fn exception_handlers_stay_in_their_method() {
        // The method begins at 9, its code at 11: aload_0, invokespecial at 12, return at 15.
        assert!(with_handler([0, 11, 0x80, 4, 0, 15, 0, 0]).is_ok());
        let cases = [
            ([0, 11, 0x80, 40, 0, 15, 0, 0], "outside the code"),
            ([0, 11, 0x80, 4, 0, 90, 0, 0], "leaves its method"),
            ([0, 11, 0x80, 4, 0, 13, 0, 0], "enters an operand"),
            ([0, 2, 0x80, 4, 0, 15, 0, 0], "outside the code"),
            ([0, 11, 0x80, 4, 0, 15, 0, 7], "constant 7 is caught"),
        ];
        for (handler, words) in cases {
            let sentence = with_handler(handler).unwrap_err();
            assert!(
                sentence.contains(words) || sentence.contains("leaves its method"),
                "{handler:?}: {sentence}"
            );
        }
    }

    #[test]
    fn the_stack_keeps_its_bounds() {
        let refused =
            |change: fn(&mut Vec<u8>)| changed(&builder(), ComponentTag::Method, change).unwrap_err();
        // install: new, dup, invokespecial: two words, with max_stack in the header at 8.
        let sentence = refused(|info| info[8] = 1);
        assert!(sentence.contains("2 words on the stack of a method that declares 1"), "{sentence}");
        // dup becomes pop, so that the constructor finds nothing.
        let sentence = refused(|info| info[13] = 0x3B);
        assert!(sentence.contains("opcode 8C takes 1 words from a stack of 0"), "{sentence}");
        let remarks = changed(&builder(), ComponentTag::Method, |info| info[8] = 9).unwrap();
        assert_eq!(remarks, []);
    }

    #[test]
    fn oddities_are_remarks() {
        let stripped: Vec<RawComponent> = builder()
            .components()
            .unwrap()
            .into_iter()
            .filter(|component| component.tag() != ComponentTag::Descriptor)
            .collect();
        let remarks = read(stripped).unwrap();
        assert!(remarks.iter().any(|remark| remark.to_string().contains("and is missing")), "{remarks:?}");
        let undefined = changed(&builder(), ComponentTag::Header, |info| info[6] |= 0x40).unwrap();
        let rid = changed(&builder(), ComponentTag::Applet, |info| info[2] ^= 1).unwrap();
        assert!(rid.iter().any(|remark| remark.to_string().contains("RID")), "{rid:?}");
        assert!(undefined.iter().any(|remark| remark.to_string().contains("undefined flags")));
    }

    /// The classes of format 2.2 under the number of 2.3, as some converters write them.
    #[test]
    fn classes_of_a_neighbouring_format_are_read() {
        let components = builder().format(Format::V2_2).components().unwrap();
        let mut changed = builder().format(Format::V2_3).components().unwrap();
        let older = components.iter().find(|component| component.tag() == ComponentTag::Class).unwrap();
        let index = changed.iter().position(|component| component.tag() == ComponentTag::Class).unwrap();
        changed[index] = older.clone();
        let cap = CapFile::from_components(changed).unwrap();
        assert!(!cap.class.follows_format);
        assert_eq!(cap.class.classes.len(), 2);
    }

    /// Whatever a file holds, it is accepted or refused, and what is refused says why in a sentence.
    #[test]
    fn fuzz_verifier() {
        let kinds = [
            builder(),
            builder().descriptor(Descriptor::Omit),
            builder().format(Format::V2_2),
            builder().format(Format::V2_3).form(Form::Extended).static_resource(7, vec![1; 9]),
            CapBuilder::new(PACKAGE).format(Format::V2_3),
        ]
        .map(|builder| builder.components().unwrap());
        bolero::check!().with_type::<(u8, Vec<(u8, u16, u8)>)>().for_each(|(kind, changes)| {
            let mut components = kinds[usize::from(*kind) % kinds.len()].clone();
            let extended = usize::from(*kind) % kinds.len() == 3;
            let form = if extended { Form::Extended } else { Form::Compact };
            for (which, at, value) in changes {
                let index = usize::from(*which) % components.len();
                let component = &mut components[index];
                let mut info = component.info().to_vec();
                if info.is_empty() {
                    continue;
                }
                let at = usize::from(*at) % info.len();
                match value {
                    0 => info.truncate(at),
                    1..=20 => info.insert(at, *value),
                    _ => info[at] = info[at].wrapping_add(*value),
                }
                *component = RawComponent::frame(component.tag(), form, &info).unwrap();
            }
            if let Err(sentence) = read(components) {
                assert!(!sentence.is_empty());
            }
        });
    }
}
