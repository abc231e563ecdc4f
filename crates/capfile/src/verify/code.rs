//! Methods and exception handlers (JCVM 3.1, 6.10; static constraints of chapter 7).
//!
//! With a Descriptor every method's length is known, and all code is read from beginning to end. Without it
//! only references tell where methods begin, and code is followed from there as far as it can be reached.

use std::collections::{BTreeMap, BTreeSet};

use super::Remark;
use crate::bytecode::{self, Flow, Instruction, Reference, ReferenceKind};
use crate::components::{Constant, HeaderFlags, MethodBlock, MethodLocation};
use crate::{CapFile, ComponentTag, Fault};

/// What a byte of a block turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Unknown,
    Opcode,
    Operand,
}

/// What is known of one method block after its code was read.
#[derive(Debug)]
pub(super) struct BlockCode {
    roles: Vec<Role>,
    /// Constant-pool indices by their place in the block, with their width.
    pub(super) references: BTreeMap<usize, usize>,
    /// Whether all code of the block was read.
    pub(super) is_complete: bool,
    uses_int: bool,
}

/// Where methods begin and what their code refers to.
#[derive(Debug)]
pub(super) struct Code {
    starts: BTreeSet<MethodLocation>,
    pub(super) blocks: Vec<BlockCode>,
}

impl Code {
    /// Whether a method begins there.
    pub(super) fn has_method(&self, location: MethodLocation) -> bool {
        self.starts.contains(&location)
    }
}

/// A method with the limits that its code must keep.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    location: MethodLocation,
    /// Where the bytecode begins in the block.
    code: usize,
    /// Where it ends, or where the next method begins.
    end: usize,
    /// Words of local variables, parameters included.
    locals: usize,
}

/// `starts` are the methods that other components refer to.
pub(super) fn check(
    cap: &CapFile,
    referred: &BTreeSet<MethodLocation>,
    remarks: &mut Vec<Remark>,
) -> Result<Code, Fault> {
    let lengths = described_methods(cap, remarks)?;
    let starts: BTreeSet<MethodLocation> = match &lengths {
        Some(lengths) => lengths.keys().copied().collect(),
        None => referred.clone(),
    };
    let mut code = Code { starts, blocks: Vec::new() };
    for (number, block) in cap.method.blocks.iter().enumerate() {
        let methods: Vec<MethodLocation> =
            code.starts.iter().copied().filter(|location| usize::from(location.block) == number).collect();
        code.blocks.push(check_block(cap, block, &methods, lengths.as_ref(), remarks)?);
    }
    if let Some(outside) = code.starts.iter().find(|start| cap.method.block(**start).is_none()) {
        return Err(fault(cap, *outside, "a method is said to begin past the end of the code"));
    }
    let uses_int = code.blocks.iter().any(|block| block.uses_int);
    if uses_int && !cap.header.flags.has(HeaderFlags::INT) {
        let reason = "the code uses the type int, and ACC_INT is not set";
        remarks.push(Remark(Fault::new(ComponentTag::Header, 6, reason)));
    }
    Ok(code)
}

/// The bytecode length of each method by location, from the Descriptor.
fn described_methods(
    cap: &CapFile,
    remarks: &mut Vec<Remark>,
) -> Result<Option<BTreeMap<MethodLocation, u16>>, Fault> {
    let Some(descriptor) = &cap.descriptor else { return Ok(None) };
    let mut lengths = BTreeMap::new();
    let classes = descriptor.classes().filter(|class| !class.is_interface());
    for method in classes.flat_map(|class| &class.methods) {
        let Some(other) = lengths.insert(method.location, method.bytecode_count) else { continue };
        let reason = "two methods are described with the same code";
        let shared = Fault::new(ComponentTag::Descriptor, method.offset, reason);
        if other != method.bytecode_count {
            return Err(shared);
        }
        remarks.push(Remark(shared));
    }
    Ok(Some(lengths))
}

fn check_block(
    cap: &CapFile,
    block: &MethodBlock,
    methods: &[MethodLocation],
    lengths: Option<&BTreeMap<MethodLocation, u16>>,
    remarks: &mut Vec<Remark>,
) -> Result<BlockCode, Fault> {
    let mut code = BlockCode {
        roles: vec![Role::Unknown; block.bytes.len()],
        references: BTreeMap::new(),
        is_complete: lengths.is_some(),
        uses_int: false,
    };
    let mut bounds = Vec::new();
    let mut free_from = block.methods_start();
    for (index, location) in methods.iter().enumerate() {
        let next = methods.get(index + 1).map_or(block.bytes.len(), |next| usize::from(next.offset));
        let length = lengths.and_then(|lengths| lengths.get(location)).map(|length| usize::from(*length));
        let start = usize::from(location.offset);
        if start < free_from {
            return Err(fault(cap, *location, "a method begins within the handlers or another method"));
        }
        if length.is_some() && start > free_from {
            let reason = format!("{} bytes before this method belong to no method", start - free_from);
            remarks.push(Remark(fault(cap, *location, reason)));
        }
        let header = block.method_header(start).map_err(|reason| fault(cap, *location, reason))?;
        let begin = start + header.length();
        let end = length.map_or(next, |length| begin + length);
        if begin > end || end > next {
            return Err(fault(
                cap,
                *location,
                "the method runs into the next one or past the end of the code",
            ));
        }
        free_from = if length.is_some() { end } else { begin };
        if header.is_abstract {
            if length.is_some_and(|length| length > 0) {
                return Err(fault(cap, *location, "an abstract method has code"));
            }
            continue;
        }
        let locals = usize::from(header.nargs) + usize::from(header.max_locals);
        bounds.push(Bounds { location: *location, code: begin, end, locals });
    }
    for method in &bounds {
        match lengths.is_some() {
            true => read_all(cap, block, method, &mut code)?,
            false => follow(cap, block, method, vec![method.code], &mut code)?,
        }
    }
    check_handlers(cap, block, &bounds, &mut code, remarks)?;
    Ok(code)
}

/// Reads a method whose length is known, and then checks each target.
fn read_all(cap: &CapFile, block: &MethodBlock, method: &Bounds, code: &mut BlockCode) -> Result<(), Fault> {
    let mut at = method.code;
    let mut targets = Vec::new();
    let mut falls_through = true;
    while at < method.end {
        let instruction = read_one(cap, block, method, at, code)?;
        falls_through = matches!(instruction.flow, Flow::Next | Flow::Branch(_));
        if let Flow::Branch(found) | Flow::Jump(found) = &instruction.flow {
            targets.extend(found.iter().map(|target| (at, *target)));
        }
        at += instruction.length;
    }
    if falls_through {
        return Err(fault(cap, method.location, "execution runs past the end of the method"));
    }
    for (from, target) in targets {
        let inside = usize::try_from(target).ok().filter(|target| (method.code..method.end).contains(target));
        if inside.and_then(|target| code.roles.get(target)) != Some(&Role::Opcode) {
            return Err(bad_target(block, from, target));
        }
    }
    Ok(())
}

/// Follows a method from `pending` to whatever can be reached.
fn follow(
    cap: &CapFile,
    block: &MethodBlock,
    method: &Bounds,
    mut pending: Vec<usize>,
    code: &mut BlockCode,
) -> Result<(), Fault> {
    while let Some(at) = pending.pop() {
        match code.roles.get(at) {
            Some(Role::Opcode) => continue,
            Some(Role::Operand) => {
                return Err(Fault::new(
                    ComponentTag::Method,
                    block.start + at,
                    "execution enters an operand",
                ));
            }
            Some(Role::Unknown) | None => {}
        }
        if at >= method.end {
            return Err(fault(cap, method.location, "execution runs past the end of the method"));
        }
        let instruction = read_one(cap, block, method, at, code)?;
        if matches!(instruction.flow, Flow::Next | Flow::Branch(_)) {
            pending.push(at + instruction.length);
        }
        let (Flow::Branch(targets) | Flow::Jump(targets)) = instruction.flow else { continue };
        for target in targets {
            let inside =
                usize::try_from(target).ok().filter(|target| (method.code..method.end).contains(target));
            pending.push(inside.ok_or_else(|| bad_target(block, at, target))?);
        }
    }
    Ok(())
}

/// Reads one instruction and marks its bytes.
fn read_one(
    cap: &CapFile,
    block: &MethodBlock,
    method: &Bounds,
    at: usize,
    code: &mut BlockCode,
) -> Result<Instruction, Fault> {
    let here = |reason: String| Fault::new(ComponentTag::Method, block.start + at, reason);
    let instruction = bytecode::decode(&block.bytes[..method.end], at).map_err(here)?;
    if instruction.locals > method.locals {
        let (used, there) = (instruction.locals, method.locals);
        return Err(here(format!("local variable word {} is used, and the method has {there}", used - 1)));
    }
    if let Some(reference) = instruction.reference {
        check_reference(cap, &reference).map_err(here)?;
        code.references.insert(reference.offset, reference.width);
    }
    code.uses_int |= instruction.uses_int;
    for offset in at + 1..at + instruction.length {
        if code.roles[offset] == Role::Opcode {
            return Err(here("the instruction overlaps another that a branch leads to".to_owned()));
        }
        code.roles[offset] = Role::Operand;
    }
    code.roles[at] = Role::Opcode;
    Ok(instruction)
}

fn check_reference(cap: &CapFile, reference: &Reference) -> Result<(), String> {
    let index = usize::from(reference.index);
    let Some(constant) = cap.constant_pool.constants.get(index) else {
        let count = cap.constant_pool.constants.len();
        return Err(format!("constant {index} is used, and the pool has {count}"));
    };
    let (fits, wanted) = match reference.kind {
        ReferenceKind::StaticField => (matches!(constant, Constant::StaticField(_)), "a static field"),
        ReferenceKind::InstanceField => {
            (matches!(constant, Constant::InstanceField { .. }), "an instance field")
        }
        ReferenceKind::VirtualMethod => {
            (matches!(constant, Constant::VirtualMethod { .. }), "a virtual method")
        }
        ReferenceKind::SpecialMethod => (
            matches!(constant, Constant::SuperMethod { .. } | Constant::StaticMethod(_)),
            "a superclass's method, a constructor or a private method",
        ),
        ReferenceKind::StaticMethod => (matches!(constant, Constant::StaticMethod(_)), "a static method"),
        ReferenceKind::Class => (matches!(constant, Constant::Class(_)), "a class"),
    };
    if fits { Ok(()) } else { Err(format!("constant {index} must be {wanted}, and is {constant:?}")) }
}

/// Handlers whose guarded range was never reached are checked for their bounds only.
fn check_handlers(
    cap: &CapFile,
    block: &MethodBlock,
    methods: &[Bounds],
    code: &mut BlockCode,
    remarks: &mut Vec<Remark>,
) -> Result<(), Fault> {
    let here =
        |index: usize, reason: String| Fault::new(ComponentTag::Method, block.start + 1 + 8 * index, reason);
    let mut open: Vec<usize> = (0..block.handlers.len()).collect();
    // A handler's own code may be what another handler guards.
    loop {
        let (reached, waiting): (Vec<usize>, Vec<usize>) = open.into_iter().partition(|index| {
            code.roles.get(usize::from(block.handlers[*index].start)) == Some(&Role::Opcode)
        });
        open = waiting;
        if reached.is_empty() {
            break;
        }
        for index in reached {
            let handler = &block.handlers[index];
            let start = usize::from(handler.start);
            let method = methods.iter().rev().find(|method| method.code <= start);
            let Some(method) = method.filter(|method| start < method.end) else {
                return Err(here(index, format!("the guarded range begins at {start}, in no method")));
            };
            let (end, target) = (start + usize::from(handler.length), usize::from(handler.handler));
            if end > method.end || !(method.code..method.end).contains(&target) {
                return Err(here(index, "the guarded range or the handler leaves its method".to_owned()));
            }
            if code.is_complete {
                let on_boundary =
                    |offset| offset == method.end || code.roles.get(offset) == Some(&Role::Opcode);
                if !on_boundary(end) || !on_boundary(target) {
                    return Err(here(
                        index,
                        "the guarded range or the handler divides an instruction".to_owned(),
                    ));
                }
            } else {
                follow(cap, block, method, vec![target], code)?;
            }
        }
    }
    for (index, handler) in block.handlers.iter().enumerate() {
        check_handler_bounds(cap, block, handler).map_err(|reason| here(index, reason))?;
        if handler.length == 0 {
            remarks.push(Remark(here(index, "the guarded range is empty".to_owned())));
        }
        if handler.catch_type != 0 {
            code.references.insert(1 + 8 * index + 6, 2);
        }
    }
    if code.is_complete
        && let Some(index) = open.first()
    {
        return Err(here(*index, "the guarded range does not begin with an instruction".to_owned()));
    }
    let order: Vec<u16> = block.handlers.iter().map(|handler| handler.handler).collect();
    if !order.is_sorted() {
        remarks.push(Remark(here(0, "the exception handlers are not in the order of their code".to_owned())));
    }
    Ok(())
}

fn check_handler_bounds(
    cap: &CapFile,
    block: &MethodBlock,
    handler: &crate::components::ExceptionHandler,
) -> Result<(), String> {
    let area = block.methods_start()..block.bytes.len();
    let end = usize::from(handler.start) + usize::from(handler.length);
    let inside = |offset: u16| area.contains(&usize::from(offset));
    if !inside(handler.start) || !inside(handler.handler) || end > area.end {
        return Err("the guarded range or the handler lies outside the code".to_owned());
    }
    let index = usize::from(handler.catch_type);
    match cap.constant_pool.constants.get(index) {
        _ if index == 0 => Ok(()),
        Some(Constant::Class(_)) => Ok(()),
        Some(other) => Err(format!("constant {index} must be the caught class, and is {other:?}")),
        None => {
            Err(format!("constant {index} is caught, and the pool has {}", cap.constant_pool.constants.len()))
        }
    }
}

fn bad_target(block: &MethodBlock, from: usize, target: i64) -> Fault {
    let target = target + block.start as i64;
    let reason = format!("the branch leads to offset {target}, where no instruction of its method begins");
    Fault::new(ComponentTag::Method, block.start + from, reason)
}

fn fault(
    cap: &CapFile,
    location: MethodLocation,
    reason: impl Into<std::borrow::Cow<'static, str>>,
) -> Fault {
    let block = cap.method.blocks.get(usize::from(location.block)).map_or(0, |block| block.start);
    Fault::new(ComponentTag::Method, block + usize::from(location.offset), reason)
}
