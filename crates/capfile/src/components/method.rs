//! Method component (JCVM 3.1, 6.10).

use crate::reader::Reader;
use crate::{ComponentTag, Fault, Form, RawComponent};

const ACC_EXTENDED: u8 = 0x80;
const ACC_ABSTRACT: u8 = 0x40;

/// Where a method's header begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MethodLocation {
    /// The method block; 0 in the compact form.
    pub block: u8,
    /// The offset into the block, which in the compact form is the info item itself.
    pub offset: u16,
}

impl MethodLocation {
    pub(crate) fn parse(reader: &mut Reader<'_>, form: Form, what: &'static str) -> Result<Self, Fault> {
        let block = match form {
            Form::Extended => reader.u1(what)?,
            Form::Compact => 0,
        };
        Ok(Self { block, offset: reader.u2(what)? })
    }
}

/// JCVM 3.1, 6.10.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExceptionHandler {
    /// Where the guarded range begins in the block.
    pub start: u16,
    /// How many bytes are guarded.
    pub length: u16,
    /// Whether no later handler's range holds this one.
    pub is_outermost: bool,
    /// Where the handler begins in the block.
    pub handler: u16,
    /// The constant-pool index of the caught class; 0 for `finally`.
    pub catch_type: u16,
}

/// Handlers and methods; the whole component in the compact form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodBlock {
    /// Where the block begins in the info item.
    pub start: usize,
    /// The block, handlers included: method locations are offsets into it.
    pub bytes: Vec<u8>,
    /// The exception handlers.
    pub handlers: Vec<ExceptionHandler>,
}

/// The four numbers before a method's bytecode (JCVM 3.1, 6.10.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MethodHeader {
    /// Whether the method has no code.
    pub is_abstract: bool,
    /// Words of operand stack.
    pub max_stack: u8,
    /// Words of parameters, `this` included.
    pub nargs: u8,
    /// Words of local variables beside the parameters.
    pub max_locals: u8,
    /// Whether the header has four bytes.
    pub is_extended: bool,
}

impl MethodHeader {
    /// Its length: where the bytecode begins.
    pub const fn length(&self) -> usize {
        if self.is_extended { 4 } else { 2 }
    }
}

/// Bytecode and exception handlers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodComponent {
    /// One block in the compact form.
    pub blocks: Vec<MethodBlock>,
}

impl MethodBlock {
    /// Where the first method begins in the block.
    pub fn methods_start(&self) -> usize {
        1 + 8 * self.handlers.len()
    }

    /// Reads a method's header. The error is the reason.
    pub fn method_header(&self, offset: usize) -> Result<MethodHeader, &'static str> {
        let first = *self.bytes.get(offset).ok_or("the method begins past the end")?;
        let at =
            |index: usize| self.bytes.get(offset + index).copied().ok_or("the method header is cut short");
        let is_abstract = first & ACC_ABSTRACT != 0;
        if first & 0x30 != 0 {
            return Err("an undefined flag of a method header is set");
        }
        if first & ACC_EXTENDED != 0 {
            return Ok(MethodHeader {
                is_abstract,
                max_stack: at(1)?,
                nargs: at(2)?,
                max_locals: at(3)?,
                is_extended: true,
            });
        }
        let second = at(1)?;
        Ok(MethodHeader {
            is_abstract,
            max_stack: first & 0x0F,
            nargs: second >> 4,
            max_locals: second & 0x0F,
            is_extended: false,
        })
    }

    fn parse(bytes: &[u8], start: usize) -> Result<Self, Fault> {
        let at_start = |fault: Fault| Fault { offset: fault.offset + start, ..fault };
        let mut reader = Reader::new(ComponentTag::Method, bytes);
        let count = reader.u1("the handler count").map_err(at_start)?;
        let mut handlers = Vec::new();
        for _ in 0..count {
            handlers.push(parse_handler(&mut reader).map_err(at_start)?);
        }
        Ok(Self { start, bytes: bytes.to_vec(), handlers })
    }
}

impl MethodComponent {
    pub(crate) fn parse(component: &RawComponent, form: Form) -> Result<Self, Fault> {
        let info = component.info();
        let blocks = match form {
            Form::Compact => vec![MethodBlock::parse(info, 0)?],
            Form::Extended => parse_blocks(info)?,
        };
        Ok(Self { blocks })
    }

    /// The block of a location, if both exist.
    pub fn block(&self, location: MethodLocation) -> Option<&MethodBlock> {
        let block = self.blocks.get(usize::from(location.block))?;
        (usize::from(location.offset) < block.bytes.len()).then_some(block)
    }
}

fn parse_handler(reader: &mut Reader<'_>) -> Result<ExceptionHandler, Fault> {
    let start = reader.u2("an exception handler")?;
    let bitfield = reader.u2("an exception handler")?;
    Ok(ExceptionHandler {
        start,
        length: bitfield & 0x7FFF,
        is_outermost: bitfield & 0x8000 != 0,
        handler: reader.u2("an exception handler")?,
        catch_type: reader.u2("an exception handler")?,
    })
}

/// Extended form: a count, the offset of each block into the info item, the blocks.
fn parse_blocks(info: &[u8]) -> Result<Vec<MethodBlock>, Fault> {
    let mut reader = Reader::new(ComponentTag::Method, info);
    let count = reader.u1("the block count")?;
    if count > 128 {
        return Err(reader.fault_at(0, format!("{count} method blocks, and a location can name 128")));
    }
    let mut starts = Vec::new();
    for _ in 0..count {
        starts.push(reader.u4("a block offset")? as usize);
    }
    let first = reader.offset();
    let Some(stated) = starts.first().copied() else {
        reader.finish()?;
        return Ok(Vec::new());
    };
    // The offsets count from the info item. A file that counts from the component's tag or from the first
    // block says the same, and is read.
    let shift = [0, 5].into_iter().find(|prefix| stated == first + prefix).or((stated == 0).then_some(0));
    let Some(shift) = shift else {
        let reason = format!("the first block is said to begin at {stated}, and begins at {first}");
        return Err(reader.fault_at(1, reason));
    };
    let base = if stated == 0 { first } else { 0 };
    let mut blocks = Vec::new();
    for (index, stated) in starts.iter().enumerate() {
        let start = (stated + base).checked_sub(shift);
        let end = match starts.get(index + 1) {
            Some(next) => (next + base).checked_sub(shift),
            None => Some(info.len()),
        };
        let bytes = start.zip(end).and_then(|(start, end)| Some((start, info.get(start..end)?)));
        let Some((start, bytes)) = bytes else {
            return Err(reader.fault_at(1 + 4 * index, "a block's offset is out of order or past the end"));
        };
        if bytes.len() > 0xFFFF {
            return Err(
                reader.fault_at(start, format!("a method block of {} bytes passes 65535", bytes.len()))
            );
        }
        blocks.push(MethodBlock::parse(bytes, start)?);
    }
    Ok(blocks)
}
