//! What an expression may cost for one robot, known before it runs: each node a step, each piece of what it puts together
//! another, and what a macro repeats as often as its list can be long.

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators};

use super::syntax::{LABELS, OF, VALUE};

/// Most steps that an expression may take for one robot. A plain condition takes a dozen.
pub(super) const STEPS_MAX: u64 = 5_000;

/// How long a list of a robot's own is taken to be: labels and reasons are never longer.
const LENGTH_MAX: u64 = 128;

/// Bytes of text that count as one piece. Together with [`STEPS_MAX`] it bounds what an expression holds at once.
const PIECE_BYTES: usize = 128;

/// Pieces of a channel's value, which has 16 KiB at most.
const VALUE_PIECES: u64 = 128;

/// Pieces of any other text of a robot: a label, a name, a sentence.
const TEXT_PIECES: u64 = 4;

/// What a part of an expression costs and how large what it makes can be.
#[derive(Clone, Copy, Debug)]
struct Cost {
    steps: u64,
    /// Elements and texts in all depths: at least 1, and never less than how long it is as a list.
    pieces: u64,
}

/// The last part of the name of the one list among the members.
const LIST: &str = "reasons";

/// Names that macros bind, the innermost last, and the pieces of what they stand for.
type Bound<'a> = Vec<(&'a str, u64)>;

/// Returns the steps that an expression takes at most, as far as they are counted: beyond [`u64::MAX`] they are that.
pub(super) fn steps(expr: &IdedExpr) -> u64 {
    cost(expr, &mut Vec::new()).steps
}

fn cost<'a>(expr: &'a IdedExpr, bound: &mut Bound<'a>) -> Cost {
    match &expr.expr {
        Expr::Unspecified => Cost { steps: 1, pieces: 1 },
        Expr::Literal(literal) => Cost { steps: 1, pieces: pieces_of(literal) },
        Expr::Ident(name) => Cost { steps: 1, pieces: pieces_of_variable(name, bound) },
        Expr::Select(_) if own(expr, bound).is_some() => Cost { steps: 1, pieces: pieces_of_member(expr) },
        // A part is not larger than what it is of.
        Expr::Select(select) => cost(&select.operand, bound).and_steps(1),
        Expr::Call(call) => of_call(call, bound),
        Expr::List(list) => made(&mut list.elements.iter(), bound),
        Expr::Map(map) => made(&mut map.entries.iter().flat_map(|entry| parts_of(&entry.expr)), bound),
        Expr::Struct(made_up) => {
            made(&mut made_up.entries.iter().flat_map(|entry| parts_of(&entry.expr)), bound)
        }
        Expr::Comprehension(comprehension) => of_comprehension(comprehension, bound),
    }
}

impl Cost {
    fn and_steps(self, steps: u64) -> Self {
        Self { steps: self.steps.saturating_add(steps), ..self }
    }

    /// Joins the costs of parts, and the pieces of all of them.
    fn and(self, other: Self) -> Self {
        Self { pieces: self.pieces.saturating_add(other.pieces), ..self.and_steps(other.steps) }
    }
}

/// Returns the cost of parts together, with their pieces.
fn all<'a>(parts: &mut dyn Iterator<Item = &'a IdedExpr>, bound: &mut Bound<'a>) -> Cost {
    parts.fold(Cost { steps: 1, pieces: 0 }, |sum, part| sum.and(cost(part, bound)))
}

/// Returns the cost of what is put together of parts, each piece a step.
fn made<'a>(parts: &mut dyn Iterator<Item = &'a IdedExpr>, bound: &mut Bound<'a>) -> Cost {
    let all = all(parts, bound);
    Cost { pieces: all.pieces.max(1), ..all.and_steps(all.pieces) }
}

fn of_call<'a>(call: &'a CallExpr, bound: &mut Bound<'a>) -> Cost {
    let mut parts = call.target.as_deref().into_iter().chain(&call.args);
    match (call.func_name.as_str(), &call.args[..]) {
        (operators::ADD | "string", _) => made(&mut parts, bound),
        // An element is not larger than what it is of.
        (operators::INDEX | operators::OPT_INDEX | operators::OPT_SELECT, _) => all(&mut parts, bound),
        (operators::CONDITIONAL, [asked, one, other]) => {
            let [asked, one, other] = [asked, one, other].map(|part| cost(part, bound));
            Cost { pieces: one.pieces.max(other.pieces), ..asked.and(one).and(other).and_steps(1) }
        }
        _ => Cost { pieces: 1, ..all(&mut parts, bound) },
    }
}

fn of_comprehension<'a>(comprehension: &'a ComprehensionExpr, bound: &mut Bound<'a>) -> Cost {
    let ComprehensionExpr { iter_range, iter_var, iter_var2, accu_var, accu_init, .. } = comprehension;
    let range = cost(iter_range, bound);
    let length = length(iter_range, bound).unwrap_or(range.pieces);
    let element = if own(iter_range, bound).is_some() { TEXT_PIECES } else { range.pieces };
    let init = cost(accu_init, bound);
    let outer = bound.len();
    bound.extend([iter_var.as_str()].into_iter().chain(iter_var2.as_deref()).map(|name| (name, element)));
    // What is gathered grows by what a step adds; macros add once in a step.
    bound.push((accu_var.as_str(), 0));
    let each = cost(&comprehension.loop_cond, bound).and_steps(cost(&comprehension.loop_step, bound).steps);
    let added = cost(&comprehension.loop_step, bound).pieces;
    bound.pop();
    bound.push((accu_var.as_str(), init.pieces.saturating_add(length.saturating_mul(added))));
    let result = cost(&comprehension.result, bound);
    bound.truncate(outer);
    let once = range.steps.saturating_add(init.steps).saturating_add(result.steps);
    let steps = once.saturating_add(length.saturating_mul(each.steps)).saturating_add(1);
    Cost { steps, pieces: result.pieces.max(1) }
}

fn parts_of(entry: &EntryExpr) -> impl Iterator<Item = &IdedExpr> {
    let (one, other) = match entry {
        EntryExpr::StructField(field) => (&field.value, None),
        EntryExpr::MapEntry(entry) => (&entry.key, Some(&entry.value)),
    };
    [one].into_iter().chain(other)
}

fn pieces_of(literal: &LiteralValue) -> u64 {
    let bytes = match literal {
        LiteralValue::String(text) => text.inner().len(),
        LiteralValue::Bytes(bytes) => bytes.inner().len(),
        _ => 0,
    };
    1 + (bytes / PIECE_BYTES) as u64
}

fn pieces_of_variable(name: &str, bound: &Bound<'_>) -> u64 {
    match (bound.iter().rev().find(|(bound, _)| *bound == name), name.split_once(OF)) {
        (Some((_, pieces)), _) => *pieces,
        (None, Some((VALUE, _))) => VALUE_PIECES,
        (None, _) if name == LABELS => LENGTH_MAX * TEXT_PIECES,
        (None, _) => TEXT_PIECES,
    }
}

/// Returns the pieces of a member or a label.
fn pieces_of_member(expr: &IdedExpr) -> u64 {
    match &expr.expr {
        Expr::Select(select) if select.field == LIST => LENGTH_MAX * TEXT_PIECES,
        _ => TEXT_PIECES,
    }
}

/// Returns what a dotted name begins with, if that is of the robot and no macro's.
fn own<'a>(expr: &'a IdedExpr, bound: &Bound<'_>) -> Option<&'a str> {
    match &expr.expr {
        Expr::Ident(name) => {
            let is_bound = bound.iter().any(|(bound, _)| bound == name);
            (!is_bound && !name.contains(OF)).then_some(name.as_str())
        }
        Expr::Select(select) => own(&select.operand, bound),
        _ => None,
    }
}

/// Returns how long the list is that a macro goes through, where that shows.
fn length(range: &IdedExpr, bound: &Bound<'_>) -> Option<u64> {
    match &range.expr {
        Expr::List(list) => Some(list.elements.len() as u64),
        Expr::Map(map) => Some(map.entries.len() as u64),
        Expr::Comprehension(inner) => length(&inner.iter_range, bound),
        _ => own(range, bound).map(|_| LENGTH_MAX),
    }
}
