// SPDX-License-Identifier: Apache-2.0
//! Module-scope variables and their initial values.

use crate::ir;
use crate::ptx::{Declaration, Immediate, Initializer, Linkage, ScalarType, StateSpace};

use super::error::{LowerError, Result};
use super::program::{Global, Program, ir_space, reference_type};

/// Largest variable, in bytes.
const SIZE_BYTES_MAX: u64 = 1 << 40;

/// Size of a texture or surface reference.
const REFERENCE_BYTES: u64 = 8;

/// Most bytes of one variable that an initializer reaches.
const INITIALIZED_BYTES_MAX: u64 = 1 << 30;

/// Definitions whose addresses initial values hold.
pub(super) fn referenced_functions(program: &Program<'_, '_>) -> Vec<usize> {
    let mut functions = Vec::new();
    for &(module, variable) in &program.variables {
        if let Some(initializer) = &variable.initializer {
            collect_functions(program, module, initializer, &mut functions);
        }
    }
    functions
}

fn collect_functions(
    program: &Program<'_, '_>,
    module: usize,
    initializer: &Initializer<'_>,
    functions: &mut Vec<usize>,
) {
    match initializer {
        Initializer::Immediate(_) => {}
        Initializer::List(list) => {
            list.iter()
                .for_each(|item| collect_functions(program, module, item, functions));
        }
        Initializer::Symbol { name, .. } => {
            if let Some(Global::Function(index)) = program.scopes[module].get(name) {
                functions.push(*index);
            }
        }
    }
}

/// Lowers all `.global` and `.const` variables.
pub(super) fn lower_all(
    program: &Program<'_, '_>,
) -> std::result::Result<Vec<ir::Variable>, LowerError> {
    let lower = |&(module, declaration): &(usize, &Declaration<'_>)| {
        lower_one(program, module, declaration).map_err(|message| {
            let message = format!("Variable {}: {message}", declaration.name);
            program.error(module, declaration.offset, message)
        })
    };
    program.variables.iter().map(lower).collect()
}

fn lower_one(
    program: &Program<'_, '_>,
    module: usize,
    declaration: &Declaration<'_>,
) -> Result<ir::Variable> {
    let is_reference = reference_type(declaration).is_some();
    if is_reference && (declaration.initializer.is_some() || !declaration.dimensions.is_empty()) {
        return Err("a reference with initial values, or an array of them".to_owned());
    }
    let size = match is_reference {
        true => Some(REFERENCE_BYTES),
        false => declaration.size_bytes(),
    };
    let size = size.filter(|&size| size <= SIZE_BYTES_MAX);
    let size = size.ok_or("it is too large")?;
    let alignment = declaration.alignment_bytes();
    let mut filler = Filler {
        program,
        module,
        ty: declaration.ty,
        bytes: Vec::new(),
        relocations: Vec::new(),
        size,
    };
    if let Some(initializer) = &declaration.initializer {
        let mut dimensions: Vec<u64> = declaration
            .dimensions
            .iter()
            .map(|dimension| match (dimension, initializer) {
                (Some(count), _) => *count,
                (None, Initializer::List(list)) => list.len() as u64,
                (None, _) => 0,
            })
            .collect();
        if declaration.vector > 1 {
            dimensions.push(declaration.vector.into());
        }
        filler.fill(initializer, 0, &dimensions)?;
    }
    Ok(ir::Variable {
        name: declaration.name.to_owned(),
        space: ir_space(declaration.space),
        size,
        alignment: u32::try_from(alignment).map_err(|_| "its alignment is too large")?,
        initializer: filler.bytes,
        relocations: filler.relocations,
        visible: declaration.linkage != Linkage::Private,
        managed: declaration.managed && declaration.space == StateSpace::Global,
    })
}

struct Filler<'p, 'm, 'a> {
    program: &'p Program<'m, 'a>,
    module: usize,
    ty: ScalarType,
    bytes: Vec<u8>,
    relocations: Vec<ir::Relocation>,
    size: u64,
}

impl Filler<'_, '_, '_> {
    fn fill(&mut self, value: &Initializer<'_>, offset: u64, dimensions: &[u64]) -> Result<()> {
        let Initializer::List(list) = value else {
            if !dimensions.is_empty() {
                return Err("an array needs an initializer in braces".to_owned());
            }
            return self.store(value, offset);
        };
        let Some((&count, inner)) = dimensions.split_first() else {
            // Braces around a scalar are allowed.
            return match list.as_slice() {
                [value @ (Initializer::Immediate(_) | Initializer::Symbol { .. })] => {
                    self.store(value, offset)
                }
                _ => Err("a list initializes a scalar".to_owned()),
            };
        };
        if list.len() as u64 > count {
            return Err(format!(
                "{} initial values for {count} elements",
                list.len()
            ));
        }
        let element = u64::from(self.ty.size_bytes());
        let stride = inner
            .iter()
            .try_fold(element, |stride, &n| stride.checked_mul(n));
        let stride = stride.ok_or("it is too large")?;
        for (index, value) in list.iter().enumerate() {
            let at = (index as u64)
                .checked_mul(stride)
                .and_then(|at| at.checked_add(offset));
            self.fill(value, at.ok_or("it is too large")?, inner)?;
        }
        Ok(())
    }

    fn store(&mut self, value: &Initializer<'_>, offset: u64) -> Result<()> {
        let bytes = self.ty.size_bytes();
        let end = offset + u64::from(bytes);
        if end > self.size || end > INITIALIZED_BYTES_MAX {
            return Err("its initializer is too large".to_owned());
        }
        let bits = match value {
            Initializer::Immediate(value) => immediate_bits(*value, self.ty)?,
            Initializer::Symbol {
                name, addend, mask, ..
            } => self.symbol(name, *addend, *mask, offset)?,
            Initializer::List(_) => return Err("a list initializes a scalar".to_owned()),
        };
        let (start, end) = (offset as usize, end as usize);
        if bits != 0 {
            self.bytes.resize(self.bytes.len().max(end), 0);
            self.bytes[start..end].copy_from_slice(&bits.to_le_bytes()[..bytes as usize]);
        }
        Ok(())
    }

    /// Notes a relocation and answers the bits to store meanwhile.
    fn symbol(&mut self, name: &str, addend: i64, mask: Option<u64>, offset: u64) -> Result<u128> {
        let bytes = self.ty.size_bytes();
        let shift = mask.map_or(0, u64::trailing_zeros);
        let whole = if bytes >= 8 {
            u64::MAX
        } else {
            (1 << (bytes * 8)) - 1
        };
        match mask {
            Some(mask) if mask == 0 || mask >> shift != whole || !shift.is_multiple_of(8) => {
                return Err(format!(
                    "mask {mask:#x} does not select {bytes} bytes of an address"
                ));
            }
            None if bytes != 8 => {
                return Err(format!("the address of {name} does not fit {bytes} bytes"));
            }
            _ => {}
        }
        let global = self.program.scopes[self.module].get(name);
        let target = match global.copied() {
            Some(Global::Variable(id)) => ir::Symbol::Variable(id),
            Some(Global::Function(index)) => {
                let id = self.program.definitions[index].id;
                ir::Symbol::Function(id.ok_or("it holds a function that was dropped")?)
            }
            _ => return Err(format!("the address of {name} is not known")),
        };
        let bytes = bytes as u8;
        self.relocations.push(ir::Relocation {
            offset,
            bytes,
            shift: shift as u8,
            target,
            addend,
        });
        Ok(0)
    }
}

fn immediate_bits(value: Immediate, ty: ScalarType) -> Result<u128> {
    let bits = match (value, ty) {
        (Immediate::F32(value), ScalarType::F32 | ScalarType::B32 | ScalarType::U32) => {
            u64::from(value.to_bits())
        }
        (Immediate::F64(value), ScalarType::F64 | ScalarType::B64 | ScalarType::U64) => {
            value.to_bits()
        }
        (Immediate::F32(value), ScalarType::F64) => f64::from(value).to_bits(),
        (Immediate::F64(value), ScalarType::F32) => u64::from((value as f32).to_bits()),
        // Zero is the one integer whose meaning for a float is beyond doubt.
        (Immediate::Int(0), _) => 0,
        (Immediate::Int(_), ScalarType::F32 | ScalarType::F64) => {
            return Err("an integer initializes a floating-point variable".to_owned());
        }
        (Immediate::Int(value), _) => {
            // Too many bits are cut off, as ptxas does.
            return Ok(value as u128);
        }
        _ => return Err("a floating-point value initializes an integer".to_owned()),
    };
    Ok(bits.into())
}
