// SPDX-License-Identifier: Apache-2.0
//! One decoded instruction for each operation.

use super::super::access::{self, Access, Element};
use super::super::atomic::{self, Atomic};
use super::super::barrier::{BarrierCode, BarrierCodeKind};
use super::super::code::{Code, Combine, Flow, More, Operand};
use super::super::compare::{self, Carry};
use super::super::convert::{self, Conversion};
use super::super::copy::{self, CopyAsync};
use super::super::float::{self, FloatOp};
use super::super::integer;
use super::super::mbarrier::{self, MemoryBarrier, Operation};
use super::super::scalar::{self, Function, Result as ScalarResult, ScalarFn};
use super::super::special::{self, SpecialCode};
use super::super::warp::{WarpCode, WarpOp};
use super::super::window::{self, WindowCode, window_base};
use super::operands::is_wide;
use super::{Decoder, Frame, Mismatch, lanes, plain, unsupported};
use crate::ir::{
    AtomicOp, BarrierKind, BinaryOp, BoolOp, Callee, Compare, FloatMode, FloatType, IntType,
    MemType, MemoryBarrierOp, Op, PredSrc, Reg, ScalarType, Space, Src, TernaryOp, UnaryOp, Width,
};

type Decoded = Result<Code, Mismatch>;

fn int_wide(ty: IntType) -> bool {
    scalar::int_bits(ty) == 64
}

fn float_wide(ty: FloatType) -> bool {
    ty == FloatType::F64
}

fn scalar_wide(ty: ScalarType) -> bool {
    match ty {
        ScalarType::Int(ty) => int_wide(ty),
        ScalarType::Float(ty) => float_wide(ty),
    }
}

fn width_wide(width: Width) -> bool {
    width == Width::B64
}

impl Decoder<'_> {
    pub(super) fn operation(&mut self, frame: Frame, op: &Op) -> Decoded {
        match op {
            Op::Unary { op, dst, a } => self.unary(frame, *op, *dst, *a),
            Op::Binary { op, dst, a, b } => self.binary(frame, *op, *dst, *a, *b),
            Op::Ternary { op, dst, a, b, c } => self.ternary(frame, *op, *dst, [*a, *b, *c]),
            Op::BitFieldInsert {
                width,
                dst,
                a,
                b,
                position,
                length,
            } => {
                let wide = width_wide(*width);
                let sources = [(*a, wide), (*b, wide), (*position, false), (*length, false)];
                self.scalar(
                    frame,
                    scalar::bit_field_insert(*width),
                    *dst,
                    wide,
                    &sources,
                )
            }
            Op::Carry {
                width,
                subtract,
                dst,
                a,
                b,
                carry_in,
                carry_out,
            } => {
                let wide = width_wide(*width);
                let predicate =
                    |pred: &Option<_>| pred.map(|pred| self.predicate(frame, pred)).transpose();
                let (carry_in, carry_out) = (predicate(carry_in)?, predicate(carry_out)?);
                let dst = Element {
                    operand: self.target(frame, *dst, wide)?,
                    wide,
                };
                let a = self.sized(frame, *a, wide)?;
                let b = self.sized(frame, *b, wide)?;
                let carry = Carry {
                    subtract: *subtract,
                    dst,
                    a,
                    b,
                    carry_in,
                    carry_out,
                };
                Ok(Code {
                    more: More::Carry(Box::new(carry)),
                    ..lanes(compare::run_carry)
                })
            }
            Op::ReadSpecial { dst, register } => {
                let dst = self.any_target(frame, *dst)?;
                let special = SpecialCode {
                    register: *register,
                    dst,
                };
                Ok(Code {
                    more: More::Special(Box::new(special)),
                    ..lanes(special::run_special)
                })
            }
            Op::FrameAddress { dst, address } => {
                let dst = self.any_target(frame, *dst)?;
                let address = self.address(frame, *address)?;
                Ok(window_code(WindowCode::Frame { dst, address }))
            }
            Op::SetPredicate {
                compare,
                combine,
                dst,
                dst_not,
            } => {
                let mut code = self.compare(frame, compare)?;
                code.combine = self.combine(frame, *combine)?;
                code.dst = self.predicate_target(frame, *dst)?;
                code.second = self.predicate_target(frame, *dst_not)?;
                Ok(code)
            }
            Op::SetPredicatePacked {
                compare,
                combine,
                low,
                high,
            } => {
                let Compare {
                    op,
                    ty,
                    flush,
                    a,
                    b,
                } = *compare;
                let sources = vec![self.sized(frame, a, false)?, self.sized(frame, b, false)?];
                let function = compare::packed(op, ty, flush);
                let mut code = predicates(function, sources);
                code.combine = self.combine(frame, *combine)?;
                code.dst = self.predicate_target(frame, *low)?;
                code.second = self.predicate_target(frame, *high)?;
                Ok(code)
            }
            Op::Set {
                compare,
                combine,
                result,
                dst,
            } => self.set(frame, compare, *combine, *result, *dst),
            Op::Select {
                width,
                dst,
                a,
                b,
                pred,
            } => {
                let wide = width_wide(*width);
                let level = self.surroundings.level;
                let execute = if wide {
                    compare::pick_select::<compare::Select64>(level)
                } else {
                    compare::pick_select::<compare::Select32>(level)
                };
                let source = self.predicate_source(frame, *pred)?;
                Ok(Code {
                    dst: self.target(frame, *dst, wide)?,
                    a: self.source(frame, *a, wide)?,
                    b: self.source(frame, *b, wide)?,
                    combine: Some(Combine {
                        op: BoolOp::And,
                        source,
                    }),
                    ..lanes(execute)
                })
            }
            Op::TestFloat { class, ty, dst, a } => {
                let source = self.sized(frame, *a, float_wide(*ty))?;
                let mut code = predicates(scalar::test_float(*ty, *class), vec![source]);
                code.dst = self.predicate_target(frame, Some(*dst))?;
                Ok(code)
            }
            Op::PredicateLogic { op, dst, a, b } => {
                let source = self.predicate_source(frame, *b)?;
                Ok(Code {
                    dst: self.predicate_target(frame, Some(*dst))?,
                    combine: Some(Combine { op: *op, source }),
                    more: More::Predicate(self.predicate_source(frame, *a)?),
                    ..lanes(compare::run_predicate_logic)
                })
            }
            Op::PredicateMove { dst, a } => Ok(Code {
                dst: self.predicate_target(frame, Some(*dst))?,
                more: More::Predicate(self.predicate_source(frame, *a)?),
                ..lanes(compare::run_predicate_logic)
            }),
            _ => self.conversion_or_memory(frame, op),
        }
    }

    fn conversion_or_memory(&mut self, frame: Frame, op: &Op) -> Decoded {
        match op {
            Op::Convert {
                to,
                from,
                dst,
                a,
                rounding,
                integral,
                flush,
                saturate,
                relu,
            } => {
                let conversion = Conversion {
                    to: *to,
                    from: *from,
                    wide: is_wide(*dst),
                    rounding: *rounding,
                    integral: *integral,
                    flush: *flush,
                    saturate: *saturate,
                    relu: *relu,
                };
                self.convert(frame, conversion, *dst, *a)
            }
            Op::ConvertPack {
                to,
                dst,
                high,
                low,
                rounding,
                relu,
            } => {
                let level = self.surroundings.level;
                match convert::pack_vector(*to, *rounding, *relu, level) {
                    Some(execute) => Ok(Code {
                        dst: self.target(frame, *dst, false)?,
                        a: self.source(frame, *high, false)?,
                        b: self.source(frame, *low, false)?,
                        ..lanes(execute)
                    }),
                    None => {
                        let function = convert::pack_exact(*to, *rounding, *relu);
                        let sources = [(*high, false), (*low, false)];
                        self.scalar(frame, function, *dst, false, &sources)
                    }
                }
            }
            Op::ConvertTf32 { dst, a, rounding } => {
                self.scalar(frame, convert::tf32(*rounding), *dst, false, &[(*a, false)])
            }
            Op::ConvertPackInt { ty, dst, a, b, c } => {
                let c = c.unwrap_or(Src::Imm(0));
                let sources = [(*a, false), (*b, false), (c, false)];
                self.scalar(frame, convert::pack_integers(*ty), *dst, false, &sources)
            }
            Op::ConvertAddress {
                space,
                to_generic,
                dst,
                a,
            } => {
                let dst = self.any_target(frame, *dst)?;
                let a = self.element(frame, *a, true)?;
                let base = window_base(*space);
                Ok(window_code(WindowCode::Convert {
                    base,
                    to_generic: *to_generic,
                    dst,
                    a,
                }))
            }
            Op::IsSpace { space, dst, a } => {
                let dst = self.predicate(frame, *dst)?;
                let a = self.element(frame, *a, true)?;
                // Constants are in global memory here.
                let space = if *space == Space::Const {
                    Space::Global
                } else {
                    *space
                };
                Ok(window_code(WindowCode::IsSpace { space, dst, a }))
            }
            Op::Load { .. } | Op::Store { .. } => self.load_or_store(frame, op),
            Op::Atomic {
                space,
                op,
                ty,
                order,
                dst,
                address,
                a,
                b,
            } => {
                let wide = ty.bytes() == 8;
                if b.is_some() != (*op == AtomicOp::CompareAndSwap) {
                    return Err(Mismatch("wrong number of operands".into()));
                }
                let operand = |reg: Reg| self.target(frame, reg, wide);
                let dst = dst
                    .map(operand)
                    .transpose()?
                    .map(|operand| Element { operand, wide });
                let address = self.address(frame, *address)?;
                let a = self.sized(frame, *a, wide)?;
                let b = b.map(|b| self.sized(frame, b, wide)).transpose()?;
                let (space, op, ty, order) = (*space, *op, *ty, *order);
                let slot = self.accesses;
                self.accesses += 1;
                let atomic = Atomic {
                    space,
                    address,
                    op,
                    ty,
                    order,
                    slot,
                    dst,
                    a,
                    b,
                };
                Ok(Code {
                    more: More::Atomic(Box::new(atomic)),
                    ..lanes(atomic::run_atomic)
                })
            }
            Op::Fence => Ok(lanes(fence)),
            Op::CopyAsync {
                dst,
                src,
                bytes,
                source_bytes,
            } => {
                if !matches!(bytes, 4 | 8 | 16) {
                    return Err(Mismatch("wrong number of bytes".into()));
                }
                let (dst, src) = (self.address(frame, *dst)?, self.address(frame, *src)?);
                let source_bytes = source_bytes
                    .map(|bytes| self.sized(frame, bytes, false))
                    .transpose()?;
                let copy = CopyAsync {
                    dst,
                    src,
                    bytes: *bytes,
                    source_bytes,
                };
                Ok(Code {
                    more: More::CopyAsync(Box::new(copy)),
                    ..lanes(copy::run_copy)
                })
            }
            Op::CopyBulk(copy) => self.copy_bulk(frame, copy),
            Op::CopyTensor(copy) => self.copy_tensor(frame, copy),
            Op::AtomicWide {
                space,
                is_strong,
                address,
                dst,
                compare,
                new,
            } => self.atomic_wide(
                frame,
                (*space, *is_strong),
                *address,
                *dst,
                [*compare, *new],
            ),
            Op::Image { .. } => self.image(frame, op),
            Op::MemoryBarrier { space, address, op } => {
                self.memory_barrier(frame, *space, *address, op)
            }
            Op::Nop | Op::Breakpoint => Ok(lanes(super::nothing)),
            Op::Nanosleep { .. } => Ok(lanes(nanosleep)),
            Op::Unsupported { text } => Ok(unsupported(text)),
            _ => self.control(frame, op),
        }
    }

    fn control(&mut self, frame: Frame, op: &Op) -> Decoded {
        match op {
            Op::Branch { target } => Ok(plain(Flow::Branch(self.label(frame, *target)?))),
            Op::BranchIndexed { index, targets } => {
                let targets: Result<Box<[u32]>, Mismatch> = targets
                    .iter()
                    .map(|target| self.label(frame, *target))
                    .collect();
                Ok(Code {
                    a: self.source(frame, *index, false)?,
                    more: More::Targets(targets?),
                    ..plain(Flow::BranchIndexed)
                })
            }
            Op::Call { callee } => match callee {
                Callee::Function(id) => Ok(plain(Flow::Call(self.number(*id)))),
                Callee::Indirect(src) => {
                    self.calls_pointers = true;
                    Ok(Code {
                        a: self.source(frame, *src, true)?,
                        ..plain(Flow::CallIndirect)
                    })
                }
                Callee::Builtin(builtin) => Ok(Code {
                    more: More::Builtin(*builtin),
                    ..plain(Flow::Builtin)
                }),
            },
            Op::Return => Ok(plain(Flow::Return)),
            Op::Exit => Ok(plain(Flow::Exit)),
            Op::Trap => Ok(plain(Flow::Trap)),
            Op::ClusterArrive => Ok(plain(Flow::ClusterArrive)),
            Op::ClusterWait => Ok(plain(Flow::ClusterWait)),
            Op::Barrier { id, count, kind } => {
                let kind = self.barrier_kind(frame, kind)?;
                let id = self.sized(frame, *id, false)?;
                let count = count
                    .map(|count| self.sized(frame, count, false))
                    .transpose()?;
                let barrier = BarrierCode { id, count, kind };
                Ok(Code {
                    more: More::Barrier(Box::new(barrier)),
                    ..plain(Flow::Barrier)
                })
            }
            _ => self.warp(frame, op),
        }
    }

    /// A branch target as a program counter.
    fn label(&self, frame: Frame, target: u32) -> Result<u32, Mismatch> {
        // The end of the function is the implied return.
        if target <= frame.length {
            Ok(frame.entry + target)
        } else {
            Err(Mismatch(format!("branch target {target} is past the end")))
        }
    }

    fn barrier_kind(&self, frame: Frame, kind: &BarrierKind) -> Result<BarrierCodeKind, Mismatch> {
        Ok(match kind {
            BarrierKind::Sync => BarrierCodeKind::Sync,
            BarrierKind::Arrive => BarrierCodeKind::Arrive,
            BarrierKind::ReducePopulation { dst, src } => BarrierCodeKind::Population {
                dst: Element {
                    operand: self.target(frame, *dst, false)?,
                    wide: false,
                },
                source: self.predicate_source(frame, *src)?,
            },
            BarrierKind::ReduceAnd { dst, src } => BarrierCodeKind::And {
                dst: self.predicate(frame, *dst)?,
                source: self.predicate_source(frame, *src)?,
            },
            BarrierKind::ReduceOr { dst, src } => BarrierCodeKind::Or {
                dst: self.predicate(frame, *dst)?,
                source: self.predicate_source(frame, *src)?,
            },
        })
    }

    fn warp(&mut self, frame: Frame, op: &Op) -> Decoded {
        let narrow = Width::B32;
        let (op, dst, dst_predicate, values, width, predicate, member_mask) = match op {
            Op::WarpSync { member_mask } => (
                WarpOp::Sync,
                None,
                None,
                vec![],
                narrow,
                None,
                Some(*member_mask),
            ),
            Op::Shuffle {
                mode,
                dst,
                dst_pred,
                a,
                b,
                c,
                member_mask,
            } => {
                let op = WarpOp::Shuffle(*mode);
                (
                    op,
                    Some(*dst),
                    *dst_pred,
                    vec![*a, *b, *c],
                    narrow,
                    None,
                    *member_mask,
                )
            }
            Op::Vote {
                mode,
                dst,
                src,
                member_mask,
            } => (
                WarpOp::Vote(*mode),
                None,
                Some(*dst),
                vec![],
                narrow,
                Some(*src),
                *member_mask,
            ),
            Op::Ballot {
                dst,
                src,
                member_mask,
            } => (
                WarpOp::Ballot,
                Some(*dst),
                None,
                vec![],
                narrow,
                Some(*src),
                *member_mask,
            ),
            Op::ActiveMask { dst } => (
                WarpOp::ActiveMask,
                Some(*dst),
                None,
                vec![],
                narrow,
                None,
                None,
            ),
            Op::MatchAny {
                width,
                dst,
                a,
                member_mask,
            } => {
                let members = Some(*member_mask);
                (
                    WarpOp::MatchAny,
                    Some(*dst),
                    None,
                    vec![*a],
                    *width,
                    None,
                    members,
                )
            }
            Op::MatchAll {
                width,
                dst,
                dst_pred,
                a,
                member_mask,
            } => {
                let members = Some(*member_mask);
                (
                    WarpOp::MatchAll,
                    Some(*dst),
                    *dst_pred,
                    vec![*a],
                    *width,
                    None,
                    members,
                )
            }
            Op::Redux {
                op,
                ty,
                dst,
                a,
                member_mask,
            } => {
                let op = WarpOp::Redux {
                    op: *op,
                    signed: scalar::is_signed(*ty),
                };
                (
                    op,
                    Some(*dst),
                    None,
                    vec![*a],
                    narrow,
                    None,
                    Some(*member_mask),
                )
            }
            Op::Elect {
                dst,
                dst_pred,
                member_mask,
            } => (
                WarpOp::Elect,
                *dst,
                Some(*dst_pred),
                vec![],
                narrow,
                None,
                Some(*member_mask),
            ),
            other => return Err(Mismatch(format!("no code for {other:?}"))),
        };
        let mut elements = [None; 3];
        for (index, (element, value)) in elements.iter_mut().zip(values).enumerate() {
            *element = Some(self.sized(frame, value, index == 0 && width_wide(width))?);
        }
        let dst = match dst {
            Some(dst) => Some(Element {
                operand: self.target(frame, dst, false)?,
                wide: false,
            }),
            None => None,
        };
        let source = |source: PredSrc| self.predicate_source(frame, source);
        let predicate = predicate.map(source).transpose()?;
        let dst_predicate = dst_predicate
            .map(|pred| self.predicate(frame, pred))
            .transpose()?;
        let members = member_mask
            .map(|members| self.sized(frame, members, false))
            .transpose()?;
        let [a, b, c] = elements;
        // Every lane named, or whoever is there.
        let names_all =
            member_mask.is_none_or(|mask| matches!(mask, Src::Imm(mask) if mask as u32 == !0));
        let lane_loop = super::super::warp::lane_loop(op, self.surroundings.level);
        let lane_loop = lane_loop.filter(|_| names_all);
        let has_lane_loop = lane_loop.is_some();
        let code = WarpCode {
            op,
            a,
            b,
            c,
            predicate,
            members,
            dst,
            dst_predicate,
            has_lane_loop,
        };
        let execute = lane_loop.unwrap_or(super::nothing);
        Ok(Code {
            execute,
            more: More::Warp(Box::new(code)),
            ..plain(Flow::Warp)
        })
    }

    // === Arithmetic ===

    fn unary(&mut self, frame: Frame, op: UnaryOp, dst: Reg, a: Src) -> Decoded {
        let (wide_a, wide_dst) = unary_widths(op);
        let level = self.surroundings.level;
        let execute = integer::unary(op, level).or_else(|| {
            let float = |ty, op, mode| float_execute(ty, op, mode, level);
            let flushing = |flush| FloatMode {
                flush,
                ..FloatMode::default()
            };
            match op {
                UnaryOp::FloatNeg { ty, flush } => float(ty, FloatOp::Neg, flushing(flush)),
                UnaryOp::FloatAbs { ty, flush } => float(ty, FloatOp::Abs, flushing(flush)),
                UnaryOp::Sqrt(ty, mode) => float(ty, FloatOp::Sqrt, mode),
                UnaryOp::Reciprocal(ty, mode) => float(ty, FloatOp::Reciprocal, mode),
                UnaryOp::ReciprocalSqrt { ty, flush } => {
                    float(ty, FloatOp::ReciprocalSqrt, flushing(flush))
                }
                UnaryOp::Exp2 { ty, flush } => float(ty, FloatOp::Exp2, flushing(flush)),
                UnaryOp::Log2 { flush } => float(FloatType::F32, FloatOp::Log2, flushing(flush)),
                UnaryOp::Sin { flush } => float(FloatType::F32, FloatOp::Sin, flushing(flush)),
                UnaryOp::Cos { flush } => float(FloatType::F32, FloatOp::Cos, flushing(flush)),
                UnaryOp::Tanh(ty) => float(ty, FloatOp::Tanh, flushing(false)),
                _ => None,
            }
        });
        if let Some(execute) = execute {
            return Ok(Code {
                dst: self.target(frame, dst, wide_dst)?,
                a: self.source(frame, a, wide_a)?,
                ..lanes(execute)
            });
        }
        let function = scalar::unary(op).ok_or_else(|| Mismatch("no code".into()))?;
        self.scalar(frame, function, dst, wide_dst, &[(a, wide_a)])
    }

    fn binary(&mut self, frame: Frame, op: BinaryOp, dst: Reg, a: Src, b: Src) -> Decoded {
        let [wide_a, wide_b, wide_dst] = binary_widths(op);
        let level = self.surroundings.level;
        let mut imm = 0;
        let execute = integer::binary(op, level).or_else(|| match op {
            BinaryOp::FloatAdd(ty, mode) => float_execute(ty, FloatOp::Add, mode, level),
            BinaryOp::FloatSub(ty, mode) => float_execute(ty, FloatOp::Sub, mode, level),
            BinaryOp::FloatMul(ty, mode) => float_execute(ty, FloatOp::Mul, mode, level),
            BinaryOp::FloatDiv(ty, mode) => float_execute(ty, FloatOp::Div, mode, level),
            BinaryOp::CopySign(ty) => {
                float_execute(ty, FloatOp::CopySign, FloatMode::default(), level)
            }
            BinaryOp::FloatMin { ty, mode } | BinaryOp::FloatMax { ty, mode } => {
                let is_max = matches!(op, BinaryOp::FloatMax { .. });
                match ty {
                    FloatType::F32 => {
                        let (execute, flags) = float::min_max_f32(is_max, mode, level);
                        imm = flags;
                        Some(execute)
                    }
                    FloatType::F64 if !mode.nan && !mode.xor_sign => {
                        Some(float::min_max_f64(is_max, level))
                    }
                    _ => None,
                }
            }
            _ => None,
        });
        if let Some(execute) = execute {
            return Ok(Code {
                dst: self.target(frame, dst, wide_dst)?,
                a: self.source(frame, a, wide_a)?,
                b: self.source(frame, b, wide_b)?,
                imm,
                ..lanes(execute)
            });
        }
        let function = scalar::binary(op).ok_or_else(|| Mismatch("no code".into()))?;
        self.scalar(frame, function, dst, wide_dst, &[(a, wide_a), (b, wide_b)])
    }

    fn ternary(&mut self, frame: Frame, op: TernaryOp, dst: Reg, sources: [Src; 3]) -> Decoded {
        let widths = ternary_widths(op);
        let level = self.surroundings.level;
        let execute = integer::ternary(op, level).or_else(|| match op {
            TernaryOp::Fma(ty, mode) => float_execute(ty, FloatOp::Fma, mode, level),
            _ => None,
        });
        let [a, b, c] = sources;
        let [wide_a, wide_b, wide_c, wide_dst] = widths;
        if let Some(execute) = execute {
            return Ok(Code {
                dst: self.target(frame, dst, wide_dst)?,
                a: self.source(frame, a, wide_a)?,
                b: self.source(frame, b, wide_b)?,
                c: self.source(frame, c, wide_c)?,
                imm: if let TernaryOp::Lop3(table) = op {
                    table.into()
                } else {
                    0
                },
                ..lanes(execute)
            });
        }
        let function = scalar::ternary(op).ok_or_else(|| Mismatch("no code".into()))?;
        let sources = [(a, wide_a), (b, wide_b), (c, wide_c)];
        self.scalar(frame, function, dst, wide_dst, &sources)
    }

    fn scalar(
        &mut self,
        frame: Frame,
        function: Function,
        dst: Reg,
        wide: bool,
        sources: &[(Src, bool)],
    ) -> Decoded {
        let operand = self.target(frame, dst, wide)?;
        let sources: Result<Vec<Element>, Mismatch> = sources
            .iter()
            .map(|&(src, wide)| self.sized(frame, src, wide))
            .collect();
        let result = ScalarResult::Register(Element { operand, wide });
        let more = More::Scalar(ScalarFn {
            function,
            sources: sources?,
            result,
        });
        Ok(Code {
            more,
            ..lanes(scalar::run_scalar)
        })
    }

    fn compare(&mut self, frame: Frame, compare: &Compare) -> Decoded {
        let Compare {
            op,
            ty,
            flush,
            a,
            b,
        } = *compare;
        let wide = scalar_wide(ty);
        if let Some(execute) = compare::vector(op, ty, flush, self.surroundings.level) {
            let a = self.source(frame, a, wide)?;
            let b = self.source(frame, b, wide)?;
            return Ok(Code {
                a,
                b,
                ..lanes(execute)
            });
        }
        let sources = vec![self.sized(frame, a, wide)?, self.sized(frame, b, wide)?];
        Ok(predicates(compare::exact(op, ty, flush), sources))
    }

    fn set(
        &mut self,
        frame: Frame,
        compare: &Compare,
        combine: Option<(BoolOp, PredSrc)>,
        result: ScalarType,
        dst: Reg,
    ) -> Decoded {
        let Compare {
            op,
            ty,
            flush,
            a,
            b,
        } = *compare;
        let is_packed = compare::is_packed(ty);
        let function = if is_packed {
            compare::packed(op, ty, flush)
        } else {
            compare::exact(op, ty, flush)
        };
        let wide = scalar_wide(ty);
        let sources = vec![self.sized(frame, a, wide)?, self.sized(frame, b, wide)?];
        let dst = Element {
            operand: self.target(frame, dst, false)?,
            wide: false,
        };
        Ok(Code {
            combine: self.combine(frame, combine)?,
            imm: match result {
                // Each half is a mask of its own.
                ScalarType::Int(_) if is_packed => 0xffff,
                _ => compare::true_value(result),
            },
            second: if is_packed {
                Operand::register(0)
            } else {
                Operand::NONE
            },
            more: More::Scalar(ScalarFn {
                function,
                sources,
                result: ScalarResult::Register(dst),
            }),
            ..lanes(compare::run_set)
        })
    }

    fn convert(&mut self, frame: Frame, conversion: Conversion, dst: Reg, a: Src) -> Decoded {
        let wide_a = scalar_wide(conversion.from);
        let is_integer = matches!(conversion.to, ScalarType::Int(_));
        let wide_dst = if is_integer && !scalar_wide(conversion.to) {
            is_wide(dst)
        } else {
            scalar_wide(conversion.to)
        };
        if let Some(execute) = convert::vector(&conversion, self.surroundings.level) {
            return Ok(Code {
                dst: self.target(frame, dst, wide_dst)?,
                a: self.source(frame, a, wide_a)?,
                ..lanes(execute)
            });
        }
        self.scalar(
            frame,
            convert::exact(conversion),
            dst,
            wide_dst,
            &[(a, wide_a)],
        )
    }

    // === Memory ===

    fn load_or_store(&mut self, frame: Frame, op: &Op) -> Decoded {
        let (space, ty, order, address) = match op {
            Op::Load {
                space,
                ty,
                order,
                address,
                ..
            }
            | Op::Store {
                space,
                ty,
                order,
                address,
                ..
            } => (*space, *ty, *order, *address),
            other => return Err(Mismatch(format!("no memory access: {other:?}"))),
        };
        let size = match ty {
            MemType::U8 | MemType::S8 => 1,
            MemType::U16 | MemType::S16 => 2,
            MemType::U32 | MemType::S32 => 4,
            MemType::B64 => 8,
        };
        let absent = Element {
            operand: Operand::NONE,
            wide: false,
        };
        let elements: Vec<Element> = match op {
            Op::Load { dst, .. } => dst
                .iter()
                .map(|dst| dst.map_or(Ok(absent), |dst| self.any_target(frame, dst)))
                .collect::<Result<_, _>>()?,
            Op::Store { src, .. } => src
                .iter()
                .map(|&src| self.element(frame, src, size == 8))
                .collect::<Result<_, _>>()?,
            _ => Vec::new(),
        };
        let is_complete = |element: &Element| element.operand == Operand::NONE || element.wide;
        if !matches!(elements.len(), 1 | 2 | 4 | 8)
            || (size == 8 && !elements.iter().all(is_complete))
        {
            return Err(Mismatch("wrong number or width of elements".into()));
        }
        let signed = matches!(ty, MemType::S8 | MemType::S16 | MemType::S32);
        let address = self.address(frame, address)?;
        let level = self.surroundings.level;
        let execute = match (op, size) {
            (Op::Load { .. }, 1) => access::pick_access::<access::Load<1>>(level),
            (Op::Load { .. }, 2) => access::pick_access::<access::Load<2>>(level),
            (Op::Load { .. }, 4) => access::pick_access::<access::Load<4>>(level),
            (Op::Load { .. }, _) => access::pick_access::<access::Load<8>>(level),
            (_, 1) => access::pick_access::<access::Store<1>>(level),
            (_, 2) => access::pick_access::<access::Store<2>>(level),
            (_, 4) => access::pick_access::<access::Store<4>>(level),
            (_, _) => access::pick_access::<access::Store<8>>(level),
        };
        let slot = self.accesses;
        self.accesses += 1;
        let access = Access {
            space,
            address,
            signed,
            order,
            slot,
            elements,
        };
        Ok(Code {
            more: More::Access(Box::new(access)),
            ..lanes(execute)
        })
    }

    fn memory_barrier(
        &mut self,
        frame: Frame,
        space: Space,
        address: crate::ir::Address,
        op: &MemoryBarrierOp,
    ) -> Decoded {
        let (mut dst, mut dst_predicate) = (None, None);
        let operation = match op {
            MemoryBarrierOp::Init { count } => Operation::Init {
                count: self.sized(frame, *count, false)?,
            },
            MemoryBarrierOp::Invalidate => Operation::Invalidate,
            MemoryBarrierOp::Arrive {
                dst: state,
                count,
                drop,
                expected_bytes,
            } => {
                dst = state
                    .map(|state| self.any_target(frame, state))
                    .transpose()?;
                let count = count
                    .map(|count| self.sized(frame, count, false))
                    .transpose()?;
                let expected_bytes = expected_bytes
                    .map(|bytes| self.sized(frame, bytes, false))
                    .transpose()?;
                Operation::Arrive {
                    count,
                    drop: *drop,
                    expected_bytes,
                }
            }
            MemoryBarrierOp::ExpectBytes(bytes) => {
                Operation::ExpectBytes(self.sized(frame, *bytes, false)?)
            }
            MemoryBarrierOp::CompleteBytes(bytes) => {
                Operation::CompleteBytes(self.sized(frame, *bytes, false)?)
            }
            MemoryBarrierOp::TestWait { dst, state } => {
                dst_predicate = Some(self.predicate(frame, *dst)?);
                Operation::TestWait {
                    state: self.sized(frame, *state, true)?,
                }
            }
            MemoryBarrierOp::TestWaitParity { dst, parity } => {
                dst_predicate = Some(self.predicate(frame, *dst)?);
                Operation::TestWaitParity {
                    parity: self.sized(frame, *parity, false)?,
                }
            }
            MemoryBarrierOp::PendingCount { dst: count, state } => {
                dst = Some(self.any_target(frame, *count)?);
                Operation::PendingCount {
                    state: self.sized(frame, *state, true)?,
                }
            }
            MemoryBarrierOp::CopyAsyncArrive { no_increment: true } => Operation::Arrive {
                count: None,
                drop: false,
                expected_bytes: None,
            },
            MemoryBarrierOp::CopyAsyncArrive {
                no_increment: false,
            } => Operation::CopyArrive,
        };
        let address = self.address(frame, address)?;
        let barrier = MemoryBarrier {
            space,
            address,
            operation,
            dst,
            dst_predicate,
        };
        let more = More::MemoryBarrier(Box::new(barrier));
        Ok(Code {
            more,
            ..lanes(mbarrier::run_memory_barrier)
        })
    }
}

fn predicates(function: Function, sources: Vec<Element>) -> Code {
    let result = ScalarResult::Predicates;
    let more = More::Scalar(ScalarFn {
        function,
        sources,
        result,
    });
    Code {
        more,
        ..lanes(scalar::run_scalar)
    }
}

fn window_code(code: WindowCode) -> Code {
    Code {
        more: More::Window(Box::new(code)),
        ..lanes(window::run_window)
    }
}

fn float_execute(
    ty: FloatType,
    op: FloatOp,
    mode: FloatMode,
    level: super::super::level::CpuLevel,
) -> Option<super::super::lanes::Execute> {
    match ty {
        FloatType::F32 => float::f32_code(op, mode, level),
        FloatType::F64 => float::f64_code(op, mode, level),
        _ => super::super::half::code(ty, op, mode, level),
    }
}

/// Widths of the operand and the result: true for 64 bits.
fn unary_widths(op: UnaryOp) -> (bool, bool) {
    let both = |wide| (wide, wide);
    match op {
        UnaryOp::Move(width)
        | UnaryOp::Not(width)
        | UnaryOp::Cnot(width)
        | UnaryOp::BitReverse(width) => both(width_wide(width)),
        UnaryOp::Neg(ty) | UnaryOp::Abs(ty) => both(int_wide(ty)),
        UnaryOp::CountLeadingZeros(width) | UnaryOp::PopulationCount(width) => {
            (width_wide(width), false)
        }
        UnaryOp::FindLeadingBit { ty, .. } => (int_wide(ty), false),
        UnaryOp::FloatNeg { ty, .. }
        | UnaryOp::FloatAbs { ty, .. }
        | UnaryOp::Sqrt(ty, _)
        | UnaryOp::Reciprocal(ty, _)
        | UnaryOp::ReciprocalSqrt { ty, .. }
        | UnaryOp::Exp2 { ty, .. }
        | UnaryOp::Tanh(ty) => both(float_wide(ty)),
        UnaryOp::Log2 { .. }
        | UnaryOp::Sin { .. }
        | UnaryOp::Cos { .. }
        | UnaryOp::HighHalf32
        | UnaryOp::UnpackFloat8(_) => both(false),
        UnaryOp::LowHalf64 | UnaryOp::HighHalf64 => (true, false),
    }
}

/// Widths of both operands and the result.
fn binary_widths(op: BinaryOp) -> [bool; 3] {
    use BinaryOp as O;
    match op {
        O::Add(ty)
        | O::Sub(ty)
        | O::MulLow(ty)
        | O::MulHigh(ty)
        | O::Mul24Low(ty)
        | O::Mul24High(ty)
        | O::Div(ty)
        | O::Rem(ty)
        | O::Min(ty)
        | O::Max(ty)
        | O::SignZeroExtendClamp(ty)
        | O::SignZeroExtendWrap(ty) => [int_wide(ty); 3],
        O::MulWide(ty) => [false, false, scalar::int_bits(ty) == 32],
        O::And(width) | O::Or(width) | O::Xor(width) => [width_wide(width); 3],
        O::Shl(width) => [width_wide(width), false, width_wide(width)],
        O::Shr(ty) => [int_wide(ty), false, int_wide(ty)],
        O::Pack64 => [false, false, true],
        O::FloatAdd(ty, _)
        | O::FloatSub(ty, _)
        | O::FloatMul(ty, _)
        | O::FloatDiv(ty, _)
        | O::FloatMin { ty, .. }
        | O::FloatMax { ty, .. }
        | O::CopySign(ty) => [float_wide(ty); 3],
        O::PackFloat8 { .. }
        | O::AddSaturate
        | O::SubSaturate
        | O::Pack32
        | O::BitMaskClamp
        | O::BitMaskWrap => [false; 3],
    }
}

/// Widths of the three operands and the result.
fn ternary_widths(op: TernaryOp) -> [bool; 4] {
    use TernaryOp as O;
    match op {
        O::MadLow(ty) | O::MadHigh(ty) | O::Sad(ty) | O::Mad24Low(ty) | O::Mad24High(ty) => {
            [int_wide(ty); 4]
        }
        O::MadWide(ty) => {
            let wide = scalar::int_bits(ty) == 32;
            [false, false, wide, wide]
        }
        O::BitFieldExtract(ty) => [int_wide(ty), false, false, int_wide(ty)],
        O::Fma(ty, _) | O::FmaRelu(ty) => [float_wide(ty); 4],
        O::SelectSign(width) | O::SelectSignFloat { width, .. } => {
            let wide = width_wide(width);
            [wide, wide, false, wide]
        }
        _ => [false; 4],
    }
}

unsafe fn fence(lanes: &mut super::super::lanes::Lanes, _: &Code) -> super::super::lanes::Step {
    let _ = lanes;
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    super::super::lanes::Step::Next
}

/// Sleeping is waiting: other groups and blocks should run.
unsafe fn nanosleep(lanes: &mut super::super::lanes::Lanes, _: &Code) -> super::super::lanes::Step {
    let progress = &mut lanes.block().progress;
    progress.loaded = true;
    progress.polled = true;
    super::super::lanes::Step::Next
}
