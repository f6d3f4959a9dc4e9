// SPDX-License-Identifier: Apache-2.0
//! Module-scope names: collecting, linking, and what each kernel can reach.

use crate::ir::{self, Builtin, DeviceCall, FunctionId, OpaqueType, Space, VariableId};
use crate::ptx::{
    Declaration, Function, FunctionKind, Item, Linkage, Module, Position, ScalarType, StateSpace,
};

use super::error::LowerError;
use super::flow::{self, Uses};
use super::function;
use super::names::NameMap;
use super::shared::{self, SharedVariable};
use super::variable;

/// What a module-scope name stands for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Global {
    /// A function that the device runtime provides.
    Builtin(Builtin),
    /// Shared memory sized at launch.
    DynamicShared {
        /// In bytes.
        alignment: u32,
    },
    /// Index into [`Program::definitions`].
    Function(usize),
    /// Index into [`Program::shared`].
    Shared(usize),
    /// Declared, and defined by no module.
    Undefined,
    /// Of a kind that this device does not have.
    Unsupported,
    /// A `.global` or `.const` variable.
    Variable(VariableId),
}

/// A function with a body.
pub(super) struct Definition<'m, 'a> {
    pub(super) module: usize,
    pub(super) function: &'m Function<'a>,
    /// Its number in the output, if a kernel can reach it.
    pub(super) id: Option<FunctionId>,
}

/// Linked modules.
pub(super) struct Program<'m, 'a> {
    pub(super) modules: &'m [Module<'a>],
    /// What names mean, a table for each module.
    pub(super) scopes: Vec<NameMap<'a, Global>>,
    pub(super) definitions: Vec<Definition<'m, 'a>>,
    /// `.global` and `.const` variables, those inside functions last; [`VariableId`] indexes them.
    pub(super) variables: Vec<(usize, &'m Declaration<'a>)>,
    /// The first of [`Program::variables`] that each definition declares inside itself.
    pub(super) first_local_variable: Vec<usize>,
    /// All static shared variables, those inside functions included.
    pub(super) shared: Vec<SharedVariable>,
    /// The first of [`Program::shared`] that each definition declares inside itself; the others
    /// follow in text order.
    pub(super) first_local_shared: Vec<usize>,
}

/// Links and lowers parsed modules.
///
/// # Errors
/// [`LowerError`] names the first thing that cannot be lowered.
pub fn lower(modules: &[Module<'_>]) -> Result<ir::Module, LowerError> {
    for module in modules {
        if module.address_size != 64 {
            let message = format!("{}-bit addresses are not supported", module.address_size);
            let position = Position::of(module.source, 0);
            return Err(LowerError {
                message,
                function: String::new(),
                position,
            });
        }
    }
    let mut program = Program::link(modules)?;
    let mut uses: Vec<Uses> = program
        .definitions
        .iter()
        .map(|d| flow::uses(&program, d.module, d.function))
        .collect();
    program.add_local_shared(&mut uses)?;
    let pointed_to = variable::referenced_functions(&program);
    let reach = flow::Reach::new(&program, &uses, &pointed_to);
    let mut next = 0;
    for (definition, reached) in program.definitions.iter_mut().zip(reach.reached()) {
        if *reached {
            definition.id = Some(FunctionId(next));
            next += 1;
        }
    }
    shared::assign_offsets(&mut program.shared, &reach);
    let mut output = ir::Module {
        variables: variable::lower_all(&program)?,
        references: program.references(),
        ..Default::default()
    };
    let frame_alignment = function::frame_alignment_bytes(&program);
    for (index, definition) in program.definitions.iter().enumerate() {
        if definition.id.is_some() {
            output
                .functions
                .push(function::lower(&program, index, frame_alignment)?);
        }
    }
    for (kernel, set) in reach.kernels() {
        output.kernels.push(program.kernel(*kernel, set)?);
    }
    Ok(output)
}

impl<'m, 'a> Program<'m, 'a> {
    /// An error at a byte offset of a module.
    pub(super) fn error(&self, module: usize, offset: u32, message: String) -> LowerError {
        let position = Position::of(self.modules[module].source, offset);
        LowerError {
            message,
            function: String::new(),
            position,
        }
    }

    fn link(modules: &'m [Module<'a>]) -> Result<Self, LowerError> {
        let mut program = Program {
            modules,
            scopes: vec![NameMap::default(); modules.len()],
            definitions: Vec::new(),
            variables: Vec::new(),
            first_local_variable: Vec::new(),
            shared: Vec::new(),
            first_local_shared: Vec::new(),
        };
        let mut exports: NameMap<'a, (Linkage, Global)> = NameMap::default();
        for (index, module) in modules.iter().enumerate() {
            for item in &module.items {
                let Some((name, linkage, offset, global)) = program.define(index, item) else {
                    continue;
                };
                if program.scopes[index].insert(name, global).is_some() {
                    return Err(program.error(index, offset, format!("{name} is defined twice")));
                }
                if linkage == Linkage::Private {
                    continue;
                }
                let strong = linkage == Linkage::Visible;
                match exports.get(name) {
                    Some((Linkage::Visible, _)) if strong => {
                        let message = format!("{name} is defined by two modules");
                        return Err(program.error(index, offset, message));
                    }
                    Some(_) if !strong => {}
                    _ => {
                        exports.insert(name, (linkage, global));
                    }
                }
            }
        }
        for (index, module) in modules.iter().enumerate() {
            program.resolve(index, module, &exports)?;
        }
        for definition in &program.definitions {
            program.first_local_variable.push(program.variables.len());
            let inside = flow::local_variables(definition.function);
            program
                .variables
                .extend(inside.map(|variable| (definition.module, variable)));
        }
        Ok(program)
    }

    /// Registers what an item defines; `None` for a mere declaration.
    fn define(
        &mut self,
        module: usize,
        item: &'m Item<'a>,
    ) -> Option<(&'a str, Linkage, u32, Global)> {
        match item {
            Item::Function(function) => {
                function.body.as_ref()?;
                let global = Global::Function(self.definitions.len());
                self.definitions.push(Definition {
                    module,
                    function,
                    id: None,
                });
                Some((function.name, function.linkage, function.offset, global))
            }
            Item::Variable(variable) => {
                if variable.linkage == Linkage::Extern {
                    return None;
                }
                let global = match variable.space {
                    _ if is_opaque(variable) => Global::Unsupported,
                    StateSpace::Global | StateSpace::Const | StateSpace::Tex => {
                        let id = VariableId(self.variables.len() as u32);
                        self.variables.push((module, variable));
                        Global::Variable(id)
                    }
                    StateSpace::Shared => self.add_shared(variable),
                    _ => Global::Unsupported,
                };
                Some((variable.name, variable.linkage, variable.offset, global))
            }
            Item::Alias { .. } => None,
        }
    }

    fn add_shared(&mut self, variable: &Declaration<'_>) -> Global {
        let Some(shared) = SharedVariable::new(variable) else {
            return Global::Unsupported;
        };
        self.shared.push(shared);
        Global::Shared(self.shared.len() - 1)
    }

    /// Completes a module's table with what its declarations and weak definitions link to.
    fn resolve(
        &mut self,
        index: usize,
        module: &'m Module<'a>,
        exports: &NameMap<'a, (Linkage, Global)>,
    ) -> Result<(), LowerError> {
        for item in &module.items {
            let (name, linkage) = match item {
                Item::Function(function) => (function.name, function.linkage),
                Item::Variable(variable) => (variable.name, variable.linkage),
                Item::Alias {
                    name,
                    aliasee,
                    offset,
                } => {
                    let Some(global @ Global::Function(_)) = self.scopes[index].get(aliasee) else {
                        let message = format!("Alias of {aliasee}, which is no function here");
                        return Err(self.error(index, *offset, message));
                    };
                    let global = *global;
                    self.scopes[index].insert(name, global);
                    continue;
                }
            };
            let defined = self.scopes[index].contains_key(name);
            if defined && !matches!(linkage, Linkage::Weak | Linkage::Common) {
                continue;
            }
            let global = match (exports.get(name), item) {
                (Some((_, global)), _) => *global,
                (None, Item::Variable(variable)) if variable.space == StateSpace::Shared => {
                    let alignment = u32::try_from(variable.alignment_bytes()).unwrap_or(u32::MAX);
                    Global::DynamicShared { alignment }
                }
                (None, Item::Variable(variable)) if is_opaque(variable) => Global::Unsupported,
                (None, _) => builtin(name).map_or(Global::Undefined, Global::Builtin),
            };
            self.scopes[index].insert(name, global);
        }
        Ok(())
    }

    /// Collects the `.shared` variables that are declared inside functions.
    fn add_local_shared(&mut self, uses: &mut [Uses]) -> Result<(), LowerError> {
        for (index, uses) in uses.iter_mut().enumerate() {
            let (module, function) = {
                let definition = &self.definitions[index];
                (definition.module, definition.function)
            };
            self.first_local_shared.push(self.shared.len());
            for variable in flow::local_shared(function) {
                if variable.linkage == Linkage::Extern {
                    let alignment = u32::try_from(variable.alignment_bytes()).unwrap_or(u32::MAX);
                    uses.dynamic_shared_alignment = uses.dynamic_shared_alignment.max(alignment);
                    continue;
                }
                match self.add_shared(variable) {
                    Global::Shared(shared) => uses.shared.push(shared),
                    _ => {
                        let message = format!("Shared variable {} is too large", variable.name);
                        return Err(self.error(module, variable.offset, message));
                    }
                }
            }
        }
        Ok(())
    }

    fn kernel(&self, index: usize, set: &flow::KernelSet) -> Result<ir::Kernel, LowerError> {
        let definition = &self.definitions[index];
        let function = definition.function;
        let mut area = ir::ParameterArea::default();
        let mut parameters = Vec::with_capacity(function.parameters.len());
        for declaration in &function.parameters {
            let (size, alignment) = parameter_layout(declaration).ok_or_else(|| {
                let message = format!("Parameter {} is too large", declaration.name);
                self.error(definition.module, declaration.offset, message)
            })?;
            parameters.push(ir::Parameter {
                offset: area.push(size, alignment),
                size,
                alignment,
            });
        }
        let performance = function.performance;
        let given = |value: [u32; 3]| (value != [0; 3]).then_some(value);
        let positive = |value: u32| (value != 0).then_some(value);
        Ok(ir::Kernel {
            name: function.name.to_owned(),
            function: definition.id.unwrap_or(FunctionId(u32::MAX)),
            parameters,
            parameter_bytes: area.bytes(),
            static_shared_bytes: set
                .shared
                .iter()
                .map(|&s| self.shared[s].end())
                .max()
                .unwrap_or(0),
            dynamic_shared_alignment: set.dynamic_shared_alignment.max(16),
            max_threads: given(performance.max_threads),
            required_threads: given(performance.required_threads),
            min_blocks_per_multiprocessor: positive(performance.min_blocks_per_sm),
            max_registers: positive(performance.max_registers),
            required_cluster: given(performance.required_cluster),
            blocks_are_clusters: performance.blocks_are_clusters,
            is_cluster_explicit: performance.explicit_cluster,
            max_cluster_blocks: positive(performance.max_cluster_rank),
        })
    }

    /// Variables that are texture or surface references.
    fn references(&self) -> Vec<(VariableId, OpaqueType)> {
        let variables = (0..).zip(&self.variables);
        variables
            .filter_map(|(id, (_, variable))| Some((VariableId(id), reference_type(variable)?)))
            .collect()
    }

    /// The kernels among the definitions.
    pub(super) fn entries(&self) -> impl Iterator<Item = usize> + '_ {
        let is_entry =
            |(_, d): &(usize, &Definition<'_, '_>)| d.function.kind == FunctionKind::Entry;
        self.definitions
            .iter()
            .enumerate()
            .filter(is_entry)
            .map(|(index, _)| index)
    }
}

/// Size and alignment of a parameter in bytes; `None` where it is over PTX's limits.
pub(super) fn parameter_layout(declaration: &Declaration<'_>) -> Option<(u32, u32)> {
    let size = u32::try_from(declaration.size_bytes()?).ok()?;
    let alignment = u32::try_from(declaration.alignment_bytes()).ok()?;
    // The areas of a call hold few parameters of this size before 32-bit offsets would overflow.
    (size <= 1 << 20 && alignment <= 1 << 10 && alignment.is_power_of_two())
        .then_some((size, alignment))
}

pub(super) fn ir_space(space: StateSpace) -> Space {
    if space == StateSpace::Const {
        Space::Const
    } else {
        Space::Global
    }
}

/// Whether a variable is of an opaque kind that is not supported: samplers apart from textures.
fn is_opaque(variable: &Declaration<'_>) -> bool {
    variable.ty == ScalarType::Samplerref
}

/// What a reference variable refers to. The deprecated `.tex` space declares textures of whatever
/// type it names.
pub(super) fn reference_type(variable: &Declaration<'_>) -> Option<OpaqueType> {
    match variable.ty {
        _ if variable.space == StateSpace::Tex => Some(OpaqueType::Texture),
        ScalarType::Texref => Some(OpaqueType::Texture),
        ScalarType::Surfref => Some(OpaqueType::Surface),
        _ => None,
    }
}

fn builtin(name: &str) -> Option<Builtin> {
    Some(match name {
        "vprintf" => Builtin::Printf,
        "__assertfail" => Builtin::AssertFail,
        "malloc" => Builtin::Malloc,
        "free" => Builtin::Free,
        "cudaGraphSetConditional" => Builtin::SetConditional,
        _ => return DeviceCall::named(name).map(Builtin::Device),
    })
}
