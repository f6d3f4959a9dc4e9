// SPDX-License-Identifier: Apache-2.0
//! Control flow: `bra brx ret exit trap brkpt`.

use crate::ir::Op;
use crate::ptx::{Operand, ScalarType};

use super::error::Result;
use super::function::Lowering;
use super::instruction::Inst;

/// `griddepcontrol` and `setmaxnreg`: kernels of a stream run one after the other here, so what a
/// kernel depends on is complete; and there are registers enough.
pub(super) fn lower_hint(inst: &mut Inst<'_, '_>) -> Result<()> {
    if inst.opcode == "griddepcontrol" {
        if !inst.take("launch_dependents") && !inst.take("wait") {
            return Err("it needs .launch_dependents or .wait".to_owned());
        }
        let [] = inst.finish()?;
        return Ok(());
    }
    inst.take_all(|m| matches!(m, "inc" | "dec" | "sync" | "aligned" | "u32"));
    let [_] = inst.finish()?;
    Ok(())
}

pub(super) fn lower<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    // `.uni` promises that all threads agree; nothing is lost by not believing it.
    inst.take("uni");
    match inst.opcode {
        "bra" => {
            let [Operand::Symbol { name, addend: 0 }] = inst.finish()? else {
                return Err("its target is no label".to_owned());
            };
            let target = l.branch_label(name)?;
            l.emit(Op::Branch { target });
        }
        "brx" => {
            if !inst.take("idx") {
                return Err("it needs .idx".to_owned());
            }
            let [index, Operand::Symbol { name, addend: 0 }] = inst.finish()? else {
                return Err("its targets are no list of labels".to_owned());
            };
            let index = l.source(index, ScalarType::U32)?;
            let targets = l.branch_targets(name)?;
            l.emit(Op::BranchIndexed { index, targets });
        }
        "ret" => {
            let [] = inst.finish()?;
            l.store_register_returns();
            l.emit(Op::Return);
        }
        "exit" => {
            let [] = inst.finish()?;
            l.emit(Op::Exit);
        }
        "trap" => {
            let [] = inst.finish()?;
            l.emit(Op::Trap);
        }
        "brkpt" => {
            let [] = inst.finish()?;
            l.emit(Op::Breakpoint);
        }
        // A performance monitor event: nobody watches.
        _ => {
            inst.take("mask");
            let [_] = inst.finish()?;
        }
    }
    Ok(())
}
