//! The components of a built CAP file, byte by byte (JCVM 3.1, 6.4 to 6.14).

use tsm_iso7816::Aid;

use super::{BuildError, CapBuilder};
use crate::components::MethodLocation;
use crate::{ComponentTag, Descriptor, Form, Format, PackageInfo, RawComponent};

// Class and method tokens of javacard.framework and java.lang, from their published export files.
const FRAMEWORK_AID: Aid = Aid::constant(&[0xA0, 0x00, 0x00, 0x00, 0x62, 0x01, 0x01]);
const LANGUAGE_AID: Aid = Aid::constant(&[0xA0, 0x00, 0x00, 0x00, 0x62, 0x00, 0x01]);
const OBJECT: u8 = 0;
const APPLET: u8 = 3;
const ISO_EXCEPTION: u8 = 7;
const CONSTRUCTOR: u8 = 0;
const THROW_IT: u8 = 1;
const REGISTER: u8 = 1;
const SELECTING_APPLET: u8 = 3;
const PROCESS: u8 = 7;
const APDU: u8 = 10;

// Opcodes (JCVM 3.1, chapter 7).
const NOP: u8 = 0x00;
const SSPUSH: u8 = 0x11;
const ALOAD_0: u8 = 0x18;
const DUP: u8 = 0x3D;
const IFEQ: u8 = 0x60;
const RETURN: u8 = 0x7A;
const INVOKEVIRTUAL: u8 = 0x8B;
const INVOKESPECIAL: u8 = 0x8C;
const INVOKESTATIC: u8 = 0x8D;
const NEW: u8 = 0x8F;

const INS_NOT_SUPPORTED: [u8; 2] = [0x6D, 0x00];

/// One padding method: well below the 32,767 bytes that a method may have.
const PADDING_METHOD: usize = 30_000;
/// Where the extended form begins a new block.
const BLOCK_LIMIT: usize = 60_000;

// Nibbles of type descriptors (JCVM 3.1, table 6-14).
const VOID: u8 = 1;
const BOOLEAN: u8 = 2;
const BYTE: u8 = 3;
const SHORT: u8 = 4;
const REFERENCE: u8 = 6;
const BYTE_ARRAY: u8 = 0xB;

/// A method to be placed.
#[derive(Debug)]
struct Method {
    class: usize,
    token: u8,
    access_flags: u8,
    signature: Vec<u8>,
    header: [u8; 2],
    code: Vec<u8>,
    /// Offsets of constant-pool indices in `code`.
    references: Vec<usize>,
}

const PUBLIC: u8 = 0x01;
const PRIVATE: u8 = 0x02;
const STATIC: u8 = 0x08;
const INIT: u8 = 0x80;
const NO_TOKEN: u8 = 0xFF;

/// A constant and its signature; none for a class.
type ConstantEntry = ([u8; 4], Option<Vec<u8>>);

/// What the components share.
#[derive(Debug)]
struct Plan {
    imports: Vec<PackageInfo>,
    /// The offset of each class in the Class component, and of the end.
    class_offsets: Vec<u16>,
    methods: Vec<Method>,
    locations: Vec<MethodLocation>,
    constants: Vec<ConstantEntry>,
    blocks: Vec<Vec<u8>>,
    /// Offsets of two-byte constant-pool indices in each block.
    references: Vec<Vec<usize>>,
}

pub(super) fn components(builder: &CapBuilder) -> Result<Vec<RawComponent>, BuildError> {
    let plan = plan(builder);
    let form = builder.form;
    let frame =
        |tag: ComponentTag, info: &[u8]| RawComponent::frame(tag, form, info).ok_or(BuildError::TooLong(tag));
    let mut made = vec![
        frame(ComponentTag::Header, &header(builder))?,
        frame(ComponentTag::Import, &import(&plan))?,
        frame(ComponentTag::ConstantPool, &constant_pool(&plan))?,
        frame(ComponentTag::Class, &class(builder, &plan))?,
        frame(ComponentTag::Method, &method(builder, &plan))?,
        frame(ComponentTag::StaticField, &[0; 10])?,
        frame(ComponentTag::ReferenceLocation, &reference_location(builder, &plan)?)?,
    ];
    match builder.applets.is_empty() {
        true => made.push(frame(ComponentTag::Export, &export(builder, &plan))?),
        false => made.push(frame(ComponentTag::Applet, &applet(builder, &plan))?),
    }
    if builder.descriptor == Descriptor::Include {
        made.push(frame(ComponentTag::Descriptor, &descriptor(builder, &plan)?)?);
    }
    if let Some(info) = &builder.debug {
        made.push(frame(ComponentTag::Debug, info)?);
    }
    if !builder.resources.is_empty() {
        made.push(frame(ComponentTag::StaticResources, &static_resources(builder))?);
    }
    for (tag, _, info) in &builder.custom {
        made.push(frame(ComponentTag::from_number(*tag), info)?);
    }
    made.push(frame(ComponentTag::Directory, &directory(builder, &plan, &made))?);
    made.sort_by_key(RawComponent::tag);
    Ok(made)
}

fn plan(builder: &CapBuilder) -> Plan {
    let class_count = builder.applets.len().max(1);
    let language = PackageInfo { aid: LANGUAGE_AID, version: builder.language };
    let framework = PackageInfo { aid: FRAMEWORK_AID, version: builder.framework };
    let is_library = builder.applets.is_empty();
    let imports = if is_library { vec![language] } else { vec![framework, language] };
    let pool = if builder.format >= Format::V2_2 { 2 } else { 0 };
    let class_length = class_length(builder);
    let class_offsets = (0..=class_count).map(|index| (pool + index * class_length) as u16).collect();
    let mut plan = Plan {
        imports,
        class_offsets,
        methods: Vec::new(),
        locations: Vec::new(),
        constants: Vec::new(),
        blocks: Vec::new(),
        references: Vec::new(),
    };
    match is_library {
        true => plan_library(&mut plan),
        false => plan_applets(&mut plan, builder.applets.len()),
    }
    plan_padding(&mut plan, builder.padding);
    place(&mut plan, builder.form);
    if !is_library {
        plan_own_constants(&mut plan, builder);
    }
    plan
}

fn plan_library(plan: &mut Plan) {
    plan.constants.push(([6, 0x80, OBJECT, CONSTRUCTOR], Some(vec![VOID])));
    plan.methods.push(constructor(0));
}

/// Constants 0 to 3 are shared; each applet then has its class and its constructor.
fn plan_applets(plan: &mut Plan, count: usize) {
    plan.constants.extend([
        ([6, 0x80, APPLET, CONSTRUCTOR], Some(vec![VOID])),
        ([3, 0x80, APPLET, REGISTER], Some(vec![VOID])),
        ([3, 0x80, APPLET, SELECTING_APPLET], Some(vec![BOOLEAN])),
        ([6, 0x80, ISO_EXCEPTION, THROW_IT], Some(vec![SHORT, VOID])),
    ]);
    for class in 0..count {
        let [class_high, class_low] = (4 + 2 * class as u16).to_be_bytes();
        let [new_high, new_low] = (5 + 2 * class as u16).to_be_bytes();
        plan.methods.push(constructor(class));
        plan.methods.push(Method {
            class,
            token: 1,
            access_flags: PUBLIC | STATIC,
            signature: vec![BYTE_ARRAY, SHORT, BYTE, VOID],
            header: [0x02, 0x30],
            code: vec![
                NEW,
                class_high,
                class_low,
                DUP,
                INVOKESPECIAL,
                new_high,
                new_low,
                INVOKEVIRTUAL,
                0,
                1,
                RETURN,
            ],
            references: vec![1, 5, 8],
        });
        let [high, low] = INS_NOT_SUPPORTED;
        plan.methods.push(Method {
            class,
            token: PROCESS,
            access_flags: PUBLIC,
            signature: vec![REFERENCE, 0x8, 0x0, 0x0, APDU, VOID],
            header: [0x01, 0x20],
            code: vec![
                ALOAD_0,
                INVOKEVIRTUAL,
                0,
                2,
                IFEQ,
                3,
                RETURN,
                SSPUSH,
                high,
                low,
                INVOKESTATIC,
                0,
                3,
                RETURN,
            ],
            references: vec![2, 11],
        });
    }
}

fn constructor(class: usize) -> Method {
    Method {
        class,
        token: 0,
        access_flags: PUBLIC | INIT,
        signature: vec![VOID],
        header: [0x01, 0x10],
        code: vec![ALOAD_0, INVOKESPECIAL, 0, 0, RETURN],
        references: vec![2],
    }
}

/// Private static methods of no-ops; headers and returns count as padding where they can.
fn plan_padding(plan: &mut Plan, bytes: usize) {
    let mut left = bytes;
    while left > 0 {
        let length = left.min(PADDING_METHOD);
        let mut code = vec![NOP; length.saturating_sub(3)];
        code.push(RETURN);
        plan.methods.push(Method {
            class: 0,
            token: NO_TOKEN,
            access_flags: PRIVATE | STATIC,
            signature: vec![VOID],
            header: [0, 0],
            code,
            references: Vec::new(),
        });
        left -= length;
    }
}

/// Lays the methods out; each block begins with its count of exception handlers, which is zero.
fn place(plan: &mut Plan, form: Form) {
    let mut block = vec![0];
    let mut references = Vec::new();
    for method in &plan.methods {
        if form == Form::Extended && block.len() + method.code.len() > BLOCK_LIMIT {
            plan.blocks.push(core::mem::replace(&mut block, vec![0]));
            plan.references.push(core::mem::take(&mut references));
        }
        // An overlong compact component is refused when it is framed.
        let offset = u16::try_from(block.len()).unwrap_or(u16::MAX);
        let number = u8::try_from(plan.blocks.len()).unwrap_or(u8::MAX);
        plan.locations.push(MethodLocation { block: number, offset });
        block.extend(method.header);
        references.extend(method.references.iter().map(|reference| block.len() + reference));
        block.extend(&method.code);
    }
    plan.blocks.push(block);
    plan.references.push(references);
}

fn plan_own_constants(plan: &mut Plan, builder: &CapBuilder) {
    for class in 0..builder.applets.len() {
        let [high, low] = plan.class_offsets[class].to_be_bytes();
        plan.constants.push(([1, high, low, 0], None));
        let constructor = plan.locations[3 * class];
        let [high, low] = constructor.offset.to_be_bytes();
        plan.constants.push(([6, constructor.block, high, low], Some(vec![VOID])));
    }
}

fn header(builder: &CapBuilder) -> Vec<u8> {
    let mut flags = if builder.applets.is_empty() { 0x02 } else { 0x04 };
    if builder.form == Form::Extended {
        flags |= 0x08;
    }
    let mut info = vec![0xDE, 0xCA, 0xFF, 0xED, builder.format.minor(), 2, flags];
    write_package(&mut info, &builder.package);
    if builder.form == Form::Extended {
        info.push(1);
        write_package(&mut info, &builder.package);
    }
    if builder.format >= Format::V2_2 {
        write_counted(&mut info, builder.name.as_bytes());
    }
    info
}

fn import(plan: &Plan) -> Vec<u8> {
    let mut info = vec![plan.imports.len() as u8];
    for package in &plan.imports {
        write_package(&mut info, package);
    }
    info
}

fn applet(builder: &CapBuilder, plan: &Plan) -> Vec<u8> {
    let mut info = vec![builder.applets.len() as u8];
    for (class, aid) in builder.applets.iter().enumerate() {
        write_counted(&mut info, aid.as_bytes());
        write_location(&mut info, plan.locations[3 * class + 1], builder.form);
    }
    info
}

fn constant_pool(plan: &Plan) -> Vec<u8> {
    let mut info = (plan.constants.len() as u16).to_be_bytes().to_vec();
    info.extend(plan.constants.iter().flat_map(|(entry, _)| entry));
    info
}

/// The bytes of one class: ten of header, the method table, and the token mapping of format 2.3.
fn class_length(builder: &CapBuilder) -> usize {
    let is_applet = !builder.applets.is_empty();
    let entry = if builder.form == Form::Extended { 3 } else { 2 };
    let table = if is_applet { entry } else { 0 };
    let mapping = match (builder.format >= Format::V2_3, is_applet) {
        (false, _) => 0,
        (true, true) => usize::from(PROCESS) + 2,
        (true, false) => 2,
    };
    10 + table + mapping
}

fn class(builder: &CapBuilder, plan: &Plan) -> Vec<u8> {
    let mut info = Vec::new();
    if builder.format >= Format::V2_2 {
        info.extend([0, 0]);
    }
    if builder.applets.is_empty() {
        // Object has one virtual method, equals, with token 0.
        info.extend([0x00, 0x80, OBJECT, 0, 0xFF, 0, 1, 0, 0, 0]);
        if builder.format >= Format::V2_3 {
            info.extend([0, 1]);
        }
        return info;
    }
    for class in 0..builder.applets.len() {
        info.extend([0x00, 0x80, APPLET, 0, 0xFF, 0, PROCESS, 1, 0, 0]);
        write_location(&mut info, plan.locations[3 * class + 2], builder.form);
        if builder.format >= Format::V2_3 {
            info.extend(0..=PROCESS);
            info.push(PROCESS + 1);
        }
    }
    info
}

fn method(builder: &CapBuilder, plan: &Plan) -> Vec<u8> {
    if builder.form == Form::Compact {
        return plan.blocks.concat();
    }
    let mut info = vec![plan.blocks.len() as u8];
    let mut offset = 1 + 4 * plan.blocks.len() as u32;
    for block in &plan.blocks {
        info.extend(offset.to_be_bytes());
        offset += block.len() as u32;
    }
    info.extend(plan.blocks.concat());
    info
}

fn reference_location(builder: &CapBuilder, plan: &Plan) -> Result<Vec<u8>, BuildError> {
    let mut info = Vec::new();
    if builder.form == Form::Extended {
        info.push(plan.references.len() as u8);
    }
    for references in &plan.references {
        info.extend([0, 0]);
        let mut jumps = Vec::new();
        let mut last = 0;
        for reference in references {
            let mut distance = reference - last;
            while distance >= 255 {
                jumps.push(255);
                distance -= 255;
            }
            jumps.push(distance as u8);
            last = *reference;
        }
        let count =
            u16::try_from(jumps.len()).map_err(|_| BuildError::TooLong(ComponentTag::ReferenceLocation))?;
        info.extend(count.to_be_bytes());
        info.extend(jumps);
    }
    Ok(info)
}

/// The library's class with its constructor.
fn export(builder: &CapBuilder, plan: &Plan) -> Vec<u8> {
    let mut info = Vec::new();
    if builder.form == Form::Extended {
        info.push(1);
    }
    info.push(1);
    info.extend(plan.class_offsets[0].to_be_bytes());
    info.extend([0, 1]);
    write_location(&mut info, plan.locations[0], builder.form);
    info
}

fn descriptor(builder: &CapBuilder, plan: &Plan) -> Result<Vec<u8>, BuildError> {
    let mut types = Types::new(plan.constants.len());
    let constant_types: Vec<u16> = plan
        .constants
        .iter()
        .map(|(_, signature)| signature.as_ref().map_or(0xFFFF, |signature| types.offset(signature)))
        .collect();
    let class_count = builder.applets.len().max(1);
    let mut info = Vec::new();
    if builder.form == Form::Extended {
        info.push(1);
    }
    info.push(class_count as u8);
    for class in 0..class_count {
        let token = if builder.applets.is_empty() { 0 } else { NO_TOKEN };
        info.extend([token, PUBLIC]);
        info.extend(plan.class_offsets[class].to_be_bytes());
        info.extend([0, 0, 0]);
        let methods = || plan.methods.iter().zip(&plan.locations).filter(|(method, _)| method.class == class);
        info.extend((methods().count() as u16).to_be_bytes());
        for (method, location) in methods() {
            let count =
                u16::try_from(method.code.len()).map_err(|_| BuildError::TooLong(ComponentTag::Method))?;
            info.extend([method.token, method.access_flags]);
            write_location(&mut info, *location, builder.form);
            info.extend(types.offset(&method.signature).to_be_bytes());
            info.extend(count.to_be_bytes());
            info.extend([0, 0, 0, 0]);
        }
    }
    info.extend((constant_types.len() as u16).to_be_bytes());
    info.extend(constant_types.iter().flat_map(|offset| offset.to_be_bytes()));
    info.extend(types.bytes);
    Ok(info)
}

/// Type descriptors, each written once.
#[derive(Debug)]
struct Types {
    start: usize,
    bytes: Vec<u8>,
    known: Vec<(Vec<u8>, u16)>,
}

impl Types {
    const fn new(constant_count: usize) -> Self {
        Self { start: 2 + 2 * constant_count, bytes: Vec::new(), known: Vec::new() }
    }

    fn offset(&mut self, nibbles: &[u8]) -> u16 {
        if let Some((_, offset)) = self.known.iter().find(|(known, _)| known == nibbles) {
            return *offset;
        }
        let offset = (self.start + self.bytes.len()) as u16;
        self.bytes.push(nibbles.len() as u8);
        self.bytes.extend(nibbles.chunks(2).map(|pair| pair[0] << 4 | pair.get(1).copied().unwrap_or(0)));
        self.known.push((nibbles.to_vec(), offset));
        offset
    }
}

fn static_resources(builder: &CapBuilder) -> Vec<u8> {
    let mut info = (builder.resources.len() as u16).to_be_bytes().to_vec();
    for (id, bytes) in &builder.resources {
        info.extend(id.to_be_bytes());
        info.extend((bytes.len() as u32).to_be_bytes());
    }
    info.extend(builder.resources.iter().flat_map(|(_, bytes)| bytes));
    info
}

/// The Directory also states its own size, which follows from the rest.
fn directory(builder: &CapBuilder, plan: &Plan, made: &[RawComponent]) -> Vec<u8> {
    let count = match builder.format {
        Format::V2_1 => 11,
        Format::V2_2 => 12,
        Format::V2_3 => 13,
    };
    let mut tail = vec![0; 6];
    tail.push(plan.imports.len() as u8);
    tail.push(builder.applets.len() as u8);
    if builder.form == Form::Extended {
        tail.push(plan.blocks.len() as u8);
    }
    tail.push(builder.custom.len() as u8);
    for (tag, aid, info) in &builder.custom {
        tail.push(*tag);
        write_size(&mut tail, ComponentTag::from_number(*tag), builder.form, info.len());
        write_counted(&mut tail, aid.as_bytes());
    }
    let width = |number| if ComponentTag::from_number(number).has_wide_size(builder.form) { 4 } else { 2 };
    let own_size = tail.len() + (1..=count).map(width).sum::<usize>();
    let mut info = Vec::new();
    for number in 1..=count {
        let tag = ComponentTag::from_number(number);
        let size = match tag {
            ComponentTag::Directory => own_size,
            _ => made.iter().find(|component| component.tag() == tag).map_or(0, |made| made.info().len()),
        };
        write_size(&mut info, tag, builder.form, size);
    }
    info.extend(tail);
    info
}

fn write_size(out: &mut Vec<u8>, tag: ComponentTag, form: Form, size: usize) {
    match tag.has_wide_size(form) {
        true => out.extend((size as u32).to_be_bytes()),
        false => out.extend((size as u16).to_be_bytes()),
    }
}

fn write_package(out: &mut Vec<u8>, package: &PackageInfo) {
    out.extend([package.version.minor, package.version.major]);
    write_counted(out, package.aid.as_bytes());
}

fn write_counted(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(bytes.len() as u8);
    out.extend(bytes);
}

fn write_location(out: &mut Vec<u8>, location: MethodLocation, form: Form) {
    if form == Form::Extended {
        out.push(location.block);
    }
    out.extend(location.offset.to_be_bytes());
}
