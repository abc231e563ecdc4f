//! ConstantPool component (JCVM 3.1, 6.8).

use super::MethodLocation;
use crate::reader::Reader;
use crate::{ComponentTag, Fault, Form, RawComponent};

/// A class or interface, here or in an imported package (JCVM 3.1, 6.8.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClassRef {
    /// An offset into the info item of the Class component.
    Internal(u16),
    /// A class of an imported package.
    External {
        /// The index into the Import component.
        package: u8,
        /// The class token.
        class: u8,
    },
}

impl ClassRef {
    /// The two bytes of a class_ref.
    pub const fn from_u2(value: u16) -> Self {
        let [high, low] = value.to_be_bytes();
        if high & 0x80 == 0 {
            Self::Internal(value)
        } else {
            Self::External { package: high & 0x7F, class: low }
        }
    }
}

/// A static field or a statically bound method (JCVM 3.1, 6.8.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StaticRef<T> {
    /// In this CAP file.
    Internal(T),
    /// In an imported package.
    External {
        /// The index into the Import component.
        package: u8,
        /// The class token.
        class: u8,
        /// The field or method token.
        token: u8,
    },
}

/// A constant-pool entry (JCVM 3.1, table 6-7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Constant {
    /// 1: a class or interface.
    Class(ClassRef),
    /// 2: an instance field.
    InstanceField {
        /// Its class.
        class: ClassRef,
        /// Its token.
        token: u8,
    },
    /// 3: a method of `invokevirtual`.
    VirtualMethod {
        /// Its class.
        class: ClassRef,
        /// Its token; the high bit marks package visibility.
        token: u8,
    },
    /// 4: a superclass's method of `invokespecial`.
    SuperMethod {
        /// The class whose superclass is meant.
        class: ClassRef,
        /// Its token.
        token: u8,
    },
    /// 5: a static field; an internal one by its offset into the static field image.
    StaticField(StaticRef<u16>),
    /// 6: a static method, constructor or private method.
    StaticMethod(StaticRef<MethodLocation>),
}

/// What the bytecode refers to by index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConstantPoolComponent {
    /// By index.
    pub constants: Vec<Constant>,
}

impl ConstantPoolComponent {
    /// Where entry `index` begins in the info item.
    pub(crate) const fn offset_of(index: usize) -> usize {
        2 + 4 * index
    }

    pub(crate) fn parse(component: &RawComponent, form: Form) -> Result<Self, Fault> {
        let mut reader = Reader::new(ComponentTag::ConstantPool, component.info());
        let count = usize::from(reader.u2("the constant count")?);
        if reader.remaining() != 4 * count {
            let reason =
                format!("{count} constants need {} bytes, and {} follow", 4 * count, reader.remaining());
            return Err(reader.fault_at(0, reason));
        }
        let mut constants = Vec::with_capacity(count);
        for _ in 0..count {
            let offset = reader.offset();
            let entry = reader.take(4, "a constant")?;
            let constant = parse_constant([entry[0], entry[1], entry[2], entry[3]], form)
                .map_err(|reason| reader.fault_at(offset, reason))?;
            constants.push(constant);
        }
        Ok(Self { constants })
    }
}

fn parse_constant([tag, a, b, c]: [u8; 4], form: Form) -> Result<Constant, String> {
    let pair = u16::from_be_bytes([a, b]);
    let class = ClassRef::from_u2(pair);
    match tag {
        1 => Ok(Constant::Class(class)),
        2 => Ok(Constant::InstanceField { class, token: c }),
        3 => Ok(Constant::VirtualMethod { class, token: c }),
        4 => Ok(Constant::SuperMethod { class, token: c }),
        5 => Ok(Constant::StaticField(static_ref([a, b, c], u16::from_be_bytes([b, c])))),
        6 => {
            // The first byte of an internal reference is padding in the compact form, and the block in the
            // extended one.
            let block = if matches!(form, Form::Extended) { a } else { 0 };
            let location = MethodLocation { block, offset: u16::from_be_bytes([b, c]) };
            Ok(Constant::StaticMethod(static_ref([a, b, c], location)))
        }
        _ => Err(format!("{tag} is not the tag of a constant (1 to 6)")),
    }
}

fn static_ref<T>([a, b, c]: [u8; 3], internal: T) -> StaticRef<T> {
    if a & 0x80 == 0 {
        return StaticRef::Internal(internal);
    }
    StaticRef::External { package: a & 0x7F, class: b, token: c }
}
