// SPDX-License-Identifier: Apache-2.0
//! Scalar and SIMD video instructions, `vadd` to `vset4`.

use crate::ir::{CompareOp, Op, Src, TernaryOp, Video, VideoFinish, VideoOp};
use crate::ptx::{Operand, ScalarType};

use super::error::Result;
use super::function::Lowering;
use super::instruction::Inst;

/// Whether this is a video instruction.
pub(super) fn is_video(opcode: &str) -> bool {
    operation(opcode.trim_end_matches(['2', '4'])).is_some()
}

/// The operation of a name without its number of lanes; the modifiers say the rest.
fn operation(name: &str) -> Option<VideoOp> {
    Some(match name {
        "vadd" => VideoOp::Add,
        "vsub" => VideoOp::Subtract,
        "vavrg" => VideoOp::Average,
        "vabsdiff" => VideoOp::AbsoluteDifference,
        "vmin" => VideoOp::Min,
        "vmax" => VideoOp::Max,
        "vshl" => VideoOp::ShiftLeft { wrap: false },
        "vshr" => VideoOp::ShiftRight { wrap: false },
        "vset" => VideoOp::Compare(CompareOp::Eq),
        "vmad" => VideoOp::MultiplyAdd {
            negate_product: false,
            negate_c: false,
            plus_one: false,
            shift: 0,
        },
        _ => return None,
    })
}

pub(super) fn lower<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    let lanes = match inst.opcode.as_bytes().last() {
        Some(b'2') => 2,
        Some(b'4') => 4,
        _ => 1,
    };
    let name = inst.opcode.trim_end_matches(['2', '4']);
    let op = operation(name).ok_or("it is not supported")?;
    let is_scalar_only = matches!(
        op,
        VideoOp::ShiftLeft { .. } | VideoOp::ShiftRight { .. } | VideoOp::MultiplyAdd { .. }
    );
    if is_scalar_only && lanes > 1 || op == VideoOp::Average && lanes == 1 {
        return Err("it has no such number of lanes".to_owned());
    }
    let mut video = Video {
        op,
        signed: [false; 3],
        saturate: false,
        lanes,
        a: [0; 4],
        b: [32; 4],
        bits: [32 / lanes; 2],
        finish: VideoFinish::Result,
    };
    take_modifiers(inst, &mut video)?;
    match (op, lanes) {
        (VideoOp::MultiplyAdd { .. }, _) => lower_multiply_add(l, inst, video),
        (_, 1) => lower_scalar(l, inst, video),
        _ => lower_lanes(l, inst, video),
    }
}

fn take_modifiers(inst: &mut Inst<'_, '_>, video: &mut Video) -> Result<()> {
    // A comparison's result has no type of its own: it is unsigned.
    let types = if matches!(video.op, VideoOp::Compare(_)) {
        &mut video.signed[1..]
    } else {
        &mut video.signed[..]
    };
    for signed in types {
        *signed = match inst.take_type()? {
            ScalarType::S32 => true,
            ScalarType::U32 => false,
            other => return Err(format!("no video instruction of {other:?}")),
        };
    }
    match &mut video.op {
        VideoOp::Compare(op) => {
            let name = inst.take_any(|name| {
                Some(match name {
                    "eq" => CompareOp::Eq,
                    "ne" => CompareOp::Ne,
                    "lt" => CompareOp::Lt,
                    "le" => CompareOp::Le,
                    "gt" => CompareOp::Gt,
                    "ge" => CompareOp::Ge,
                    _ => return None,
                })
            });
            *op = name.ok_or("it has no comparison operator")?;
            return Ok(());
        }
        VideoOp::ShiftLeft { wrap } | VideoOp::ShiftRight { wrap } => {
            if video.signed[2] {
                return Err("its amount is .u32".to_owned());
            }
            *wrap = inst.take("wrap");
            if !*wrap && !inst.take("clamp") {
                return Err("it needs .clamp or .wrap".to_owned());
            }
        }
        VideoOp::MultiplyAdd {
            plus_one, shift, ..
        } => {
            *plus_one = inst.take("po");
            if inst.take("shr7") {
                *shift = 7;
            } else if inst.take("shr15") {
                *shift = 15;
            }
        }
        _ => {}
    }
    video.saturate = inst.take("sat");
    Ok(())
}

/// `.b0` to `.b3` and `.h0` and `.h1`: first bit and length.
fn selection(text: &str) -> Option<(u8, u8)> {
    Some(match text {
        "b0" => (0, 8),
        "b1" => (8, 8),
        "b2" => (16, 8),
        "b3" => (24, 8),
        "h0" => (0, 16),
        "h1" => (16, 16),
        _ => return None,
    })
}

/// An operand without what follows its last dot, if `meaning` knows that.
fn selected<'a, T>(
    operand: &Operand<'a>,
    meaning: impl Fn(&str) -> Option<T>,
) -> (Operand<'a>, Option<T>) {
    let (name, wrap): (&'a str, fn(&'a str) -> Operand<'a>) = match operand {
        Operand::Symbol { name, addend: 0 } => (name, |name| Operand::Symbol { name, addend: 0 }),
        Operand::Minus(name) => (name, Operand::Minus),
        _ => return (*operand, None),
    };
    match name.rsplit_once('.') {
        Some((register, suffix)) => match meaning(suffix) {
            Some(value) => (wrap(register), Some(value)),
            None => (*operand, None),
        },
        None => (*operand, None),
    }
}

impl<'a> Lowering<'_, '_, 'a> {
    fn video(&mut self, video: Video, d: &Operand<'a>, [a, b, c]: [Src; 3]) -> Result<()> {
        let dst = self.destination(d, ScalarType::B32)?;
        let op = TernaryOp::Video(video);
        self.emit(Op::Ternary { op, dst, a, b, c });
        Ok(())
    }

    fn video_source(&mut self, operand: &Operand<'a>) -> Result<Src> {
        self.source(operand, ScalarType::B32)
    }
}

/// Takes the selection of a or b, whose bits begin at `base`.
fn select_scalar<'a>(operand: &Operand<'a>, base: u8, part: &mut u8, bits: &mut u8) -> Operand<'a> {
    let (operand, chosen) = selected(operand, selection);
    if let Some((position, length)) = chosen {
        *part = base + position;
        *bits = length;
    }
    operand
}

fn lower_scalar<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
    mut video: Video,
) -> Result<()> {
    let second = inst.take_any(|name| {
        Some(match name {
            "add" => VideoFinish::Add,
            "min" => VideoFinish::Min,
            "max" => VideoFinish::Max,
            _ => return None,
        })
    });
    let [d, a, b, rest @ ..] = inst.finish_between(3, 4)? else {
        return Err("it has too few operands".to_owned());
    };
    let (d, merged) = selected(d, selection);
    let a = select_scalar(a, 0, &mut video.a[0], &mut video.bits[0]);
    let b = select_scalar(b, 32, &mut video.b[0], &mut video.bits[1]);
    let (a, b) = (l.video_source(&a)?, l.video_source(&b)?);
    video.finish = match (second, merged) {
        (None, None) => VideoFinish::Result,
        (Some(second), None) => second,
        (None, Some((position, length))) => VideoFinish::Insert { position, length },
        _ => return Err("a part of a register has no second operation".to_owned()),
    };
    let c = match (rest.first(), video.finish) {
        (None, VideoFinish::Result) => Src::Imm(0),
        (Some(c), finish) if finish != VideoFinish::Result => l.video_source(c)?,
        _ => return Err("it has another number of operands".to_owned()),
    };
    l.video(video, &d, [a, b, c])
}

fn lower_multiply_add<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
    mut video: Video,
) -> Result<()> {
    let [d, a, b, c] = inst.finish()?;
    let a = select_scalar(a, 0, &mut video.a[0], &mut video.bits[0]);
    let b = select_scalar(b, 32, &mut video.b[0], &mut video.bits[1]);
    let mut plain = |operand: &Operand<'a>| match operand {
        Operand::Minus(name) => {
            let operand = Operand::Symbol { name, addend: 0 };
            Ok::<_, String>((l.video_source(&operand)?, true))
        }
        _ => Ok((l.video_source(operand)?, false)),
    };
    let ((a, minus_a), (b, minus_b), (c, minus_c)) = (plain(&a)?, plain(&b)?, plain(c)?);
    if let VideoOp::MultiplyAdd {
        negate_product,
        negate_c,
        plus_one,
        ..
    } = &mut video.op
    {
        *negate_product = minus_a != minus_b;
        *negate_c = minus_c;
        let negates = minus_a || minus_b || minus_c;
        if *plus_one && negates || *negate_product && minus_c {
            return Err("no such combination of signs".to_owned());
        }
    }
    l.video(video, d, [a, b, c])
}

/// `h10` or `b3210`: for each lane, from the lowest, which part of `b:a`.
fn lane_selection(text: &str, lanes: u8) -> Option<[u8; 4]> {
    let (letter, bits) = if lanes == 2 { ('h', 16) } else { ('b', 8) };
    let digits = text.strip_prefix(letter)?.as_bytes();
    if digits.len() != usize::from(lanes) {
        return None;
    }
    let mut parts = [0; 4];
    for (part, digit) in parts.iter_mut().zip(digits.iter().rev()) {
        let number = digit.checked_sub(b'0').filter(|&n| n < 2 * lanes)?;
        *part = number * bits;
    }
    Some(parts)
}

/// `h1` or `b20`: a bit a lane; from the highest to the lowest.
fn lane_mask(text: &str, lanes: u8) -> Option<u8> {
    let letter = if lanes == 2 { 'h' } else { 'b' };
    let digits = text.strip_prefix(letter)?.as_bytes();
    let falls = digits.windows(2).all(|pair| pair[0] > pair[1]);
    if digits.is_empty() || !falls {
        return None;
    }
    digits.iter().try_fold(0, |mask, digit| {
        let number = digit.checked_sub(b'0').filter(|&n| n < lanes)?;
        Some(mask | 1 << number)
    })
}

fn lower_lanes<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
    mut video: Video,
) -> Result<()> {
    let lanes = video.lanes;
    let accumulates = inst.take("add");
    if accumulates && video.saturate {
        return Err(".sat does not go with .add".to_owned());
    }
    let [d, a, b, c] = inst.finish()?;
    let (d, mask) = selected(d, |text| lane_mask(text, lanes));
    let mask = mask.unwrap_or((1 << lanes) - 1);
    video.finish = if accumulates {
        VideoFinish::Accumulate { mask }
    } else {
        VideoFinish::Merge { mask }
    };
    let natural: [u8; 4] = std::array::from_fn(|lane| lane as u8 * (32 / lanes));
    let (a, of_a) = selected(a, |text| lane_selection(text, lanes));
    let (b, of_b) = selected(b, |text| lane_selection(text, lanes));
    video.a = of_a.unwrap_or(natural);
    video.b = of_b.unwrap_or(natural.map(|bit| bit + 32));
    let (a, b) = (l.video_source(&a)?, l.video_source(&b)?);
    let c = l.video_source(c)?;
    l.video(video, &d, [a, b, c])
}
