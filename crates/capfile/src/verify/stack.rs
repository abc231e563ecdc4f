//! The operand stack of each method, in words, along every path (JCVM 3.1, chapter 7). Types are not
//! followed; but what never takes more than there is and never grows past `max_stack` cannot leave its frame.
//!
//! Needs the Descriptor, which gives the signatures of what is called.

use std::collections::BTreeMap;

use super::Remark;
use super::descriptor::{signature_result_words, signature_words};
use crate::bytecode::{self, Flow};
use crate::components::{DescriptorComponent, MethodBlock, MethodDescriptor, MethodHeader};
use crate::{CapFile, ComponentTag, Fault};

const JSR: u8 = 0x71;

/// Words taken from and put on the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Effect {
    takes: usize,
    puts: usize,
}

pub(super) fn check(cap: &CapFile, remarks: &mut Vec<Remark>) -> Result<(), Fault> {
    let Some(descriptor) = &cap.descriptor else { return Ok(()) };
    let classes = descriptor.classes().filter(|class| !class.is_interface());
    for method in classes.flat_map(|class| &class.methods) {
        let Some(block) = cap.method.block(method.location) else { continue };
        let Ok(header) = block.method_header(usize::from(method.location.offset)) else { continue };
        if !header.is_abstract {
            Walk { descriptor, block, header, method, depths: BTreeMap::new() }.run(remarks)?;
        }
    }
    Ok(())
}

/// One method on the way.
#[derive(Debug)]
struct Walk<'a> {
    descriptor: &'a DescriptorComponent,
    block: &'a MethodBlock,
    header: MethodHeader,
    method: &'a MethodDescriptor,
    /// The depth before each instruction that was reached.
    depths: BTreeMap<usize, usize>,
}

impl Walk<'_> {
    fn run(&mut self, remarks: &mut Vec<Remark>) -> Result<(), Fault> {
        let begin = usize::from(self.method.location.offset) + self.header.length();
        let end = begin + usize::from(self.method.bytecode_count);
        let mut pending = vec![(begin, 0)];
        // A handler begins with the exception alone on the stack.
        for handler in &self.block.handlers {
            if (begin..end).contains(&usize::from(handler.start)) {
                pending.push((usize::from(handler.handler), 1));
            }
        }
        let mut differs = None;
        while let Some((at, depth)) = pending.pop() {
            if let Some(known) = self.depths.get(&at) {
                if *known != depth {
                    differs = Some(at);
                }
                continue;
            }
            if depth > usize::from(self.header.max_stack) {
                let declared = self.header.max_stack;
                return Err(self
                    .fault(at, format!("{depth} words on the stack of a method that declares {declared}")));
            }
            self.depths.insert(at, depth);
            self.step(at, depth, &mut pending)?;
        }
        if let Some(at) = differs {
            remarks.push(Remark(self.fault(at, "paths meet with stacks of different depth".to_owned())));
        }
        Ok(())
    }

    fn step(&self, at: usize, depth: usize, pending: &mut Vec<(usize, usize)>) -> Result<(), Fault> {
        let code = &self.block.bytes;
        // The code was read before; an error here only ends the walk.
        let Ok(instruction) = bytecode::decode(code, at) else { return Ok(()) };
        let opcode = code[at];
        let effect = match instruction.reference.filter(|_| (0x8B..=0x8E).contains(&opcode)) {
            Some(reference) => match self.invocation(opcode, reference.index) {
                Some(effect) => effect,
                None => return Ok(()),
            },
            None => effect(opcode, code.get(at + 1).copied().unwrap_or(0)),
        };
        let Some(left) = depth.checked_sub(effect.takes) else {
            let reason = format!("opcode {opcode:02X} takes {} words from a stack of {depth}", effect.takes);
            return Err(self.fault(at, reason));
        };
        let after = left + effect.puts;
        if after > usize::from(self.header.max_stack) {
            let declared = self.header.max_stack;
            return Err(
                self.fault(at, format!("{after} words on the stack of a method that declares {declared}"))
            );
        }
        // A subroutine begins with its return address; after its `ret` that is gone.
        let at_target = if opcode == JSR { after + 1 } else { after };
        if matches!(instruction.flow, Flow::Next | Flow::Branch(_)) {
            pending.push((at + instruction.length, after));
        }
        if let Flow::Branch(targets) | Flow::Jump(targets) = &instruction.flow {
            let targets = targets.iter().filter_map(|target| usize::try_from(*target).ok());
            pending.extend(targets.map(|target| (target, at_target)));
        }
        Ok(())
    }

    /// What a call takes and puts; `None` where the types do not tell.
    fn invocation(&self, opcode: u8, index: u16) -> Option<Effect> {
        // invokeinterface names the interface and gives its words itself; the method's result is not known
        // from this file when the interface is another package's.
        if opcode == 0x8E {
            return None;
        }
        let types = &self.descriptor.types;
        let nibbles = types.nibbles(*types.constant_types.get(usize::from(index))?)?;
        let this = usize::from(opcode != 0x8D);
        Some(Effect { takes: signature_words(&nibbles)? + this, puts: signature_result_words(&nibbles)? })
    }

    fn fault(&self, at: usize, reason: String) -> Fault {
        Fault::new(ComponentTag::Method, self.block.start + at, reason)
    }
}

/// The effect of everything but calls; `operand` is the byte after the opcode.
fn effect(opcode: u8, operand: u8) -> Effect {
    let (takes, puts) = match opcode {
        0x00 | 0x40 | 0x59 | 0x5A | 0x70..=0x72 | 0x7A | 0x96 | 0x97 | 0xA8 => (0, 0),
        0x01..=0x08 | 0x10 | 0x11 | 0x15 | 0x16 | 0x18..=0x1F => (0, 1),
        0x09..=0x0F | 0x12..=0x14 | 0x17 | 0x20..=0x23 => (0, 2),
        0x24..=0x26 => (2, 1),
        0x27 => (2, 2),
        0x28 | 0x29 | 0x2B..=0x32 | 0x3B => (1, 0),
        0x2A | 0x33..=0x36 | 0x3C => (2, 0),
        0x37..=0x39 => (3, 0),
        0x3A => (4, 0),
        0x3D => (1, 2),
        0x3E => (2, 4),
        0x3F => dup_x(operand),
        // Arithmetic: the odd opcodes work on one word, the even ones on an int.
        0x41 | 0x43 | 0x45 | 0x47 | 0x49 | 0x4D | 0x4F | 0x51 | 0x53 | 0x55 | 0x57 => (2, 1),
        0x42 | 0x44 | 0x46 | 0x48 | 0x4A | 0x4E | 0x50 | 0x52 | 0x54 | 0x56 | 0x58 => (4, 2),
        0x4B | 0x5B => (1, 1),
        0x4C => (2, 2),
        0x5C => (1, 2),
        0x5D | 0x5E => (2, 1),
        0x5F => (4, 1),
        0x60..=0x67 | 0x98..=0x9F => (1, 0),
        0x68..=0x6F | 0xA0..=0xA7 => (2, 0),
        0x73 | 0x75 | 0x77 | 0x78 | 0x93 => (1, 0),
        0x74 | 0x76 | 0x79 => (2, 0),
        0x7B..=0x7D => (0, 1),
        0x7E => (0, 2),
        0x7F..=0x81 => (1, 0),
        0x82 => (2, 0),
        0x83..=0x85 | 0xA9..=0xAB => (1, 1),
        0x86 | 0xAC => (1, 2),
        0x87..=0x89 | 0xB1..=0xB3 => (2, 0),
        0x8A | 0xB4 => (3, 0),
        0x8F => (0, 1),
        0x90..=0x92 | 0x94 | 0x95 => (1, 1),
        0xAD..=0xAF => (0, 1),
        0xB0 => (0, 2),
        0xB5..=0xB7 => (1, 0),
        0xB8 => (2, 0),
        // Calls are answered elsewhere, and the rest does not exist.
        0x8B..=0x8E | 0xB9..=0xFF => (0, 0),
    };
    Effect { takes, puts }
}

/// The upper half counts the copied words, the lower how deep they go; 0 is on top of themselves.
fn dup_x(operand: u8) -> (usize, usize) {
    let (copied, below) = (usize::from(operand >> 4), usize::from(operand & 0x0F));
    let touched = copied.max(below);
    (touched, touched + copied)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every opcode has an effect, and none takes or puts more than dup_x can.
    #[test]
    fn effects_are_small() {
        for opcode in 0..=0xB8 {
            let Effect { takes, puts } = effect(opcode, 0x48);
            assert!(takes <= 8 && puts <= 12, "{opcode:02X}");
        }
        assert_eq!(effect(0x3F, 0x20), Effect { takes: 2, puts: 4 });
        assert_eq!(effect(0x3F, 0x12), Effect { takes: 2, puts: 3 });
        // icmp, ishl, iastore, putfield_i, getfield_i_this.
        assert_eq!(effect(0x5F, 0), Effect { takes: 4, puts: 1 });
        assert_eq!(effect(0x4E, 0), Effect { takes: 4, puts: 2 });
        assert_eq!(effect(0x3A, 0), Effect { takes: 4, puts: 0 });
        assert_eq!(effect(0x8A, 0), Effect { takes: 3, puts: 0 });
        assert_eq!(effect(0xB0, 0), Effect { takes: 0, puts: 2 });
    }
}
