//! The instruction set, as far as structure goes (JCVM 3.1, chapter 7): operands, targets, constant-pool
//! indices and local variables. Nothing is executed.

/// What kind of constant an index must name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReferenceKind {
    StaticField,
    InstanceField,
    VirtualMethod,
    /// `invokespecial`: a superclass's method, a constructor or a private method.
    SpecialMethod,
    StaticMethod,
    Class,
}

/// A constant-pool index in the bytecode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reference {
    /// Where the index stands.
    pub(crate) offset: usize,
    /// One or two bytes.
    pub(crate) width: usize,
    pub(crate) index: u16,
    pub(crate) kind: ReferenceKind,
}

/// Where execution goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Flow {
    /// With the next instruction.
    Next,
    /// At a target or with the next instruction.
    Branch(Vec<i64>),
    /// At a target only.
    Jump(Vec<i64>),
    /// Nowhere in this method, or (for `ret`) where a `jsr` came from.
    End,
}

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) length: usize,
    pub(crate) flow: Flow,
    pub(crate) reference: Option<Reference>,
    /// The words of local variables that must exist for it.
    pub(crate) locals: usize,
    pub(crate) uses_int: bool,
}

/// The operands of an opcode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// So many bytes that need no check.
    Plain(usize),
    /// A local variable in one byte, of so many words, and so many bytes more.
    Local {
        words: usize,
        more: usize,
    },
    /// A local variable in the opcode itself.
    FixedLocal {
        index: usize,
        words: usize,
    },
    /// A relative target in so many bytes.
    Branch(usize),
    Goto(usize),
    Subroutine,
    /// `ret`.
    Return,
    Leave,
    DupX,
    SwapX,
    Index(usize, ReferenceKind),
    InvokeInterface,
    NewArray,
    /// `checkcast` and `instanceof`.
    TypeTest,
    TableSwitch {
        key: usize,
    },
    LookupSwitch {
        key: usize,
    },
}

/// Reads the instruction at `at`; the error is the reason.
pub(crate) fn decode(code: &[u8], at: usize) -> Result<Instruction, String> {
    let opcode = *code.get(at).ok_or("execution runs past the end of the code")?;
    let shape = shape(opcode).ok_or_else(|| unknown(opcode))?;
    let operands = Operands { code, at, opcode };
    let mut instruction =
        Instruction { length: 1, flow: Flow::Next, reference: None, locals: 0, uses_int: uses_int(opcode) };
    match shape {
        Shape::Plain(bytes) => instruction.length += bytes,
        Shape::Local { words, more } => {
            instruction.length += 1 + more;
            instruction.locals = operands.unsigned(1, 1)? + words;
        }
        Shape::FixedLocal { index, words } => instruction.locals = index + words,
        Shape::Branch(width) => {
            instruction.length += width;
            instruction.flow = Flow::Branch(vec![operands.target(1, width)?]);
        }
        Shape::Goto(width) => {
            instruction.length += width;
            instruction.flow = Flow::Jump(vec![operands.target(1, width)?]);
        }
        // The subroutine's `ret` comes back to the next instruction.
        Shape::Subroutine => {
            instruction.length += 2;
            instruction.flow = Flow::Branch(vec![operands.target(1, 2)?]);
        }
        Shape::Return => {
            instruction.length += 1;
            instruction.locals = operands.unsigned(1, 1)? + 1;
            instruction.flow = Flow::End;
        }
        Shape::Leave => instruction.flow = Flow::End,
        Shape::DupX => {
            instruction.length += 1;
            let words = operands.unsigned(1, 1)?;
            let (copied, below) = (words >> 4, words & 0x0F);
            if !(1..=4).contains(&copied) || !(below == 0 || (copied..=copied + 4).contains(&below)) {
                return Err(format!("dup_x cannot copy {copied} words below {below}"));
            }
        }
        Shape::SwapX => {
            instruction.length += 1;
            let words = operands.unsigned(1, 1)?;
            if !matches!((words >> 4, words & 0x0F), (1 | 2, 1 | 2)) {
                return Err(format!("swap_x exchanges one or two words each, and not {words:02X}"));
            }
        }
        Shape::Index(width, kind) => {
            instruction.length += width;
            instruction.reference = Some(operands.reference(1, width, kind)?);
        }
        Shape::InvokeInterface => {
            instruction.length += 4;
            if operands.unsigned(1, 1)? == 0 {
                return Err("invokeinterface passes no argument, and needs the object at least".to_owned());
            }
            instruction.reference = Some(operands.reference(2, 2, ReferenceKind::Class)?);
        }
        Shape::NewArray => {
            instruction.length += 1;
            let element = operands.unsigned(1, 1)?;
            if !(10..=13).contains(&element) {
                return Err(format!("{element} is not the type of a primitive array (10 to 13)"));
            }
        }
        Shape::TypeTest => {
            instruction.length += 3;
            instruction.reference = type_test(&operands)?;
        }
        Shape::TableSwitch { key } => table_switch(&operands, key, &mut instruction)?,
        Shape::LookupSwitch { key } => lookup_switch(&operands, key, &mut instruction)?,
    }
    if at + instruction.length > code.len() {
        return Err(operands.cut());
    }
    Ok(instruction)
}

/// A type of 0 or 14 is followed by a class, one of 10 to 13 by zero.
fn type_test(operands: &Operands<'_>) -> Result<Option<Reference>, String> {
    match operands.unsigned(1, 1)? {
        0 | 14 => Ok(Some(operands.reference(2, 2, ReferenceKind::Class)?)),
        10..=13 => {
            operands.unsigned(2, 2)?;
            Ok(None)
        }
        other => Err(format!("{other} is not a type that can be tested (0, 10 to 14)")),
    }
}

fn table_switch(operands: &Operands<'_>, key: usize, instruction: &mut Instruction) -> Result<(), String> {
    let (low, high) = (operands.signed(3, key)?, operands.signed(3 + key, key)?);
    if low > high {
        return Err(format!("a switch from {low} to {high} has no cases"));
    }
    let first = 3 + 2 * key;
    let cases = usize::try_from(high - low + 1).map_err(|_| operands.cut())?;
    let length = cases.checked_mul(2).and_then(|bytes| bytes.checked_add(first));
    instruction.length = length.filter(|length| operands.fits(*length)).ok_or_else(|| operands.cut())?;
    let mut targets = vec![operands.target(1, 2)?];
    for case in 0..cases {
        targets.push(operands.target(first + 2 * case, 2)?);
    }
    instruction.flow = Flow::Jump(targets);
    Ok(())
}

fn lookup_switch(operands: &Operands<'_>, key: usize, instruction: &mut Instruction) -> Result<(), String> {
    let pairs = operands.unsigned(3, 2)?;
    let length = 5 + pairs * (key + 2);
    if !operands.fits(length) {
        return Err(operands.cut());
    }
    instruction.length = length;
    let mut targets = vec![operands.target(1, 2)?];
    let mut last = None;
    for pair in 0..pairs {
        let offset = 5 + pair * (key + 2);
        let value = operands.signed(offset, key)?;
        if last.is_some_and(|last| last >= value) {
            return Err(format!("the cases of a switch are not in rising order at {value}"));
        }
        last = Some(value);
        targets.push(operands.target(offset + key, 2)?);
    }
    instruction.flow = Flow::Jump(targets);
    Ok(())
}

/// The operands of one instruction; offsets count from its opcode.
#[derive(Debug)]
struct Operands<'a> {
    code: &'a [u8],
    at: usize,
    opcode: u8,
}

impl Operands<'_> {
    fn cut(&self) -> String {
        format!("the operands of opcode {:02X} run past the end of the code", self.opcode)
    }

    fn fits(&self, length: usize) -> bool {
        self.at.checked_add(length).is_some_and(|end| end <= self.code.len())
    }

    fn bytes(&self, offset: usize, width: usize) -> Result<&[u8], String> {
        self.code.get(self.at + offset..self.at + offset + width).ok_or_else(|| self.cut())
    }

    fn unsigned(&self, offset: usize, width: usize) -> Result<usize, String> {
        Ok(self.bytes(offset, width)?.iter().fold(0, |value, byte| value << 8 | usize::from(*byte)))
    }

    fn signed(&self, offset: usize, width: usize) -> Result<i64, String> {
        let bytes = self.bytes(offset, width)?;
        let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
        let start = if negative { -1 } else { 0 };
        Ok(bytes.iter().fold(start, |value, byte| value << 8 | i64::from(*byte)))
    }

    /// A target relative to the opcode, as an offset into the code.
    fn target(&self, offset: usize, width: usize) -> Result<i64, String> {
        Ok(self.at as i64 + self.signed(offset, width)?)
    }

    fn reference(&self, offset: usize, width: usize, kind: ReferenceKind) -> Result<Reference, String> {
        let index = u16::try_from(self.unsigned(offset, width)?).map_err(|_| self.cut())?;
        Ok(Reference { offset: self.at + offset, width, index, kind })
    }
}

fn unknown(opcode: u8) -> String {
    match opcode {
        0xFE | 0xFF => {
            format!("opcode {opcode:02X} is reserved for implementations and must not stand in a file")
        }
        _ => format!("opcode {opcode:02X} does not exist"),
    }
}

fn shape(opcode: u8) -> Option<Shape> {
    use ReferenceKind::{Class, InstanceField, SpecialMethod, StaticField, StaticMethod, VirtualMethod};
    let fixed = |first: u8, words| Shape::FixedLocal { index: usize::from(opcode - first), words };
    let shape = match opcode {
        0x00..=0x0F => Shape::Plain(0),
        0x10 | 0x12 => Shape::Plain(1),
        0x11 | 0x13 => Shape::Plain(2),
        0x14 => Shape::Plain(4),
        0x15 | 0x16 | 0x28 | 0x29 => Shape::Local { words: 1, more: 0 },
        0x17 | 0x2A => Shape::Local { words: 2, more: 0 },
        0x18..=0x1B => fixed(0x18, 1),
        0x1C..=0x1F => fixed(0x1C, 1),
        0x20..=0x23 => fixed(0x20, 2),
        0x24..=0x27 => Shape::Plain(0),
        0x2B..=0x2E => fixed(0x2B, 1),
        0x2F..=0x32 => fixed(0x2F, 1),
        0x33..=0x36 => fixed(0x33, 2),
        0x37..=0x3E => Shape::Plain(0),
        0x3F => Shape::DupX,
        0x40 => Shape::SwapX,
        0x41..=0x58 => Shape::Plain(0),
        0x59 => Shape::Local { words: 1, more: 1 },
        0x5A => Shape::Local { words: 2, more: 1 },
        0x5B..=0x5F => Shape::Plain(0),
        0x60..=0x6F => Shape::Branch(1),
        0x70 => Shape::Goto(1),
        0x71 => Shape::Subroutine,
        0x72 => Shape::Return,
        0x73 => Shape::TableSwitch { key: 2 },
        0x74 => Shape::TableSwitch { key: 4 },
        0x75 => Shape::LookupSwitch { key: 2 },
        0x76 => Shape::LookupSwitch { key: 4 },
        0x77..=0x7A => Shape::Leave,
        0x7B..=0x82 => Shape::Index(2, StaticField),
        0x83..=0x8A => Shape::Index(1, InstanceField),
        0x8B => Shape::Index(2, VirtualMethod),
        0x8C => Shape::Index(2, SpecialMethod),
        0x8D => Shape::Index(2, StaticMethod),
        0x8E => Shape::InvokeInterface,
        0x8F | 0x91 => Shape::Index(2, Class),
        0x90 => Shape::NewArray,
        0x92 => Shape::Plain(0),
        0x93 => Shape::Leave,
        0x94 | 0x95 => Shape::TypeTest,
        0x96 => Shape::Local { words: 1, more: 2 },
        0x97 => Shape::Local { words: 2, more: 2 },
        0x98..=0xA7 => Shape::Branch(2),
        0xA8 => Shape::Goto(2),
        0xA9..=0xAC => Shape::Index(2, InstanceField),
        0xAD..=0xB0 => Shape::Index(1, InstanceField),
        0xB1..=0xB4 => Shape::Index(2, InstanceField),
        0xB5..=0xB8 => Shape::Index(1, InstanceField),
        0xB9..=0xFF => return None,
    };
    Some(shape)
}

/// Whether the instruction works on the type int, which ACC_INT announces.
const fn uses_int(opcode: u8) -> bool {
    matches!(
        opcode,
        0x09..=0x0F
            | 0x12..=0x14
            | 0x17
            | 0x20..=0x23
            | 0x27
            | 0x2A
            | 0x33..=0x36
            | 0x3A
            | 0x42
            | 0x44
            | 0x46
            | 0x48
            | 0x4A
            | 0x4C
            | 0x4E
            | 0x50
            | 0x52
            | 0x54
            | 0x56
            | 0x58
            | 0x5A
            | 0x5C..=0x5F
            | 0x74
            | 0x76
            | 0x79
            | 0x7E
            | 0x82
            | 0x86
            | 0x8A
            | 0x97
            | 0xAC
            | 0xB0
            | 0xB4
            | 0xB8
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lengths of chapter 7's forms, one of each.
    #[test]
    fn lengths_and_targets() {
        let cases: [(&str, usize, Flow); 14] = [
            ("00", 1, Flow::Next),
            ("1401020304", 5, Flow::Next),
            ("59FF01", 3, Flow::Next),
            ("6005", 2, Flow::Branch(vec![5])),
            ("70FE", 2, Flow::Jump(vec![-2])),
            ("98FFFD", 3, Flow::Branch(vec![-3])),
            ("A80100", 3, Flow::Jump(vec![256])),
            ("710004", 3, Flow::Branch(vec![4])),
            ("7A", 1, Flow::End),
            ("8E02000307", 5, Flow::Next),
            ("7300090001000200100020", 11, Flow::Jump(vec![9, 16, 32])),
            ("74000900000001000000010010", 13, Flow::Jump(vec![9, 16])),
            ("750009000200010010FFFF0020", 0, Flow::Next),
            ("76000900018000000000FF", 11, Flow::Jump(vec![9, 255])),
        ];
        for (text, length, flow) in cases {
            let code = hex::decode(text).unwrap();
            match decode(&code, 0) {
                Ok(found) => assert_eq!((found.length, found.flow), (length, flow), "{text}"),
                // Cases that do not rise.
                Err(reason) => assert_eq!((length, reason.contains("rising")), (0, true), "{text}: {reason}"),
            }
            for cut in 1..length {
                assert!(decode(&code[..cut], 0).is_err(), "{text} cut to {cut}");
            }
        }
    }

    #[test]
    fn what_does_not_exist_is_refused() {
        for opcode in 0xB9..=0xFFu8 {
            assert!(decode(&[opcode, 0, 0, 0, 0], 0).is_err(), "{opcode:02X}");
        }
        assert!(decode(&[0x90, 9], 0).is_err());
        // Operands of swap_x and dup_x beyond their range have broken virtual machines.
        assert!(decode(&[0x40, 0x11], 0).is_ok() && decode(&[0x40, 0x22], 0).is_ok());
        assert!(decode(&[0x40, 0xFF], 0).is_err() && decode(&[0x40, 0x10], 0).is_err());
        assert!(decode(&[0x3F, 0x10], 0).is_ok() && decode(&[0x3F, 0x15], 0).is_ok());
        assert!(decode(&[0x3F, 0x16], 0).is_err() && decode(&[0x3F, 0x21], 0).is_err());
        assert!(decode(&[0x3F, 0x50], 0).is_err());
        assert!(decode(&[0x94, 1, 0, 0], 0).is_err());
        assert!(decode(&[0x8E, 0, 0, 0, 0], 0).is_err());
        assert!(decode(&[0x73, 0, 9, 0, 2, 0, 1, 0, 16], 0).is_err());
    }

    /// A switch cannot make the reader allocate more than the code has bytes.
    #[test]
    fn a_huge_switch_is_cut() {
        let code = hex::decode("740009800000007FFFFFFF0010").unwrap();
        assert!(decode(&code, 0).is_err());
    }

    #[test]
    fn any_code_decodes_or_is_refused() {
        bolero::check!().for_each(|code: &[u8]| {
            if let Ok(instruction) = decode(code, 0) {
                assert!(instruction.length <= code.len());
            }
        });
    }
}
